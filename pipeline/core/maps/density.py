"""The Gaussian density map: a blob of area 1 for every cell."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.maps.distance import Points, seed_pixels

TRUNCATE = 4.0
"""Standard deviations after which a blob is cut off."""


def density_map(
    x_px: Points, y_px: Points, shape: tuple[int, int], *, sigma_px: float
) -> NDArray[np.float64]:
    """Cells per pixel, ``shape`` float64: sums to the number of cells whose blobs lie inside.

    Coincident points add up; what of a blob lies beyond the map is lost.

    Raises
    ------
    ValueError
        ``sigma_px`` is not above 0.
    """
    if not (sigma_px > 0 and math.isfinite(sigma_px)):
        raise ValueError(f"sigma_px={sigma_px} must be positive")
    counts = np.zeros(shape, np.float64)
    np.add.at(counts, seed_pixels(x_px, y_px, shape), 1.0)
    blurred = ndimage.gaussian_filter(counts, sigma_px, mode="constant", truncate=TRUNCATE)
    return np.asarray(blurred, np.float64)


def peak_density(sigma_px: float) -> float:
    """Density at the centre of a lone cell."""
    reach = math.ceil(TRUNCATE * sigma_px) + 1
    middle = np.array([reach + 0.5])
    side = 2 * reach + 1
    return float(density_map(middle, middle, (side, side), sigma_px=sigma_px).max())
