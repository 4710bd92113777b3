"""Location maps: what a network is trained to regress, made from points.

EDT = exponential distance transform (Li et al. 2024, Eq. 6 in the form of their code):
``1 / (d ** (10 * d / max_dt + 0.5) + 1)``, values under 0.01 set to 0; 1 at a cell's seed pixel
and 0.5 one pixel away whatever ``max_dt``.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EDT_C1 = 10.0
EDT_C2 = 0.5
EDT_CLIP = 0.01
MAX_DT_UM = 118 * 0.3125
"""Median Max(DT) of the BCData training images, 118 px of 0.3125 um (the 512-pixel frame)."""


def seed_distance(
    x_px: NDArray[np.float64], y_px: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Distance of every pixel to the nearest seed pixel, None without a seed.

    Parameters
    ----------
    x_px, y_px
        Continuous coordinates, pixel centres at +0.5; points outside ``shape`` are left out.
    shape
        (height, width).
    """
    col, row = np.floor(x_px).astype(np.int64), np.floor(y_px).astype(np.int64)
    inside = (col >= 0) & (row >= 0) & (col < shape[1]) & (row < shape[0])
    if not inside.any():
        return None
    empty = np.ones(shape, bool)
    empty[row[inside], col[inside]] = False  # set, not decremented: coincident points stay one cell
    return np.asarray(ndimage.distance_transform_edt(empty), np.float64)


def edt_map(
    x_px: NDArray[np.float64],
    y_px: NDArray[np.float64],
    shape: tuple[int, int],
    *,
    max_dt_px: float | None,
) -> NDArray[np.float32]:
    """Exponential distance transform map, ``shape`` float32 in [0, 1], zeros without a point.

    Parameters
    ----------
    max_dt_px
        Fixed Max(DT) in pixels: the map is then a strictly local kernel, equal on any crop.
        None takes the image's own maximum (the paper's way), which depends on the crop.
    """
    distance = seed_distance(x_px, y_px, shape)
    if distance is None:
        return np.zeros(shape, np.float32)
    largest = max(float(distance.max()), 1.0) if max_dt_px is None else max_dt_px
    values = edt_profile(distance, largest)
    return np.asarray(values, np.float32)


def edt_profile(distance_px: NDArray[np.float64], max_dt_px: float) -> NDArray[np.float64]:
    """Give the EDT value at each distance from the nearest cell (form A, clipped at 0.01)."""
    if not max_dt_px > 0:
        raise ValueError(f"max_dt_px={max_dt_px} must be positive")
    # beyond this the value is under the clip for every max_dt; it keeps the power from overflowing
    capped = np.minimum(distance_px, 4.0 * max_dt_px)
    values = 1.0 / (capped ** (EDT_C1 * capped / max_dt_px + EDT_C2) + 1.0)
    return np.where(values < EDT_CLIP, 0.0, values)


def max_dt_px(mpp_um: float) -> float:
    """Give the fixed Max(DT) for training at ``mpp_um``."""
    if not (mpp_um > 0 and math.isfinite(mpp_um)):
        raise ValueError(f"mpp_um={mpp_um} must be positive")
    return MAX_DT_UM / mpp_um
