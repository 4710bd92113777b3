"""The classical baseline: stain separation, Laplacian of Gaussian, DAB density.

No network and no training; the network's figures are shown beside this detector's. Constants were
chosen on BCData images 0 to 9 at 0.5 micrometres per pixel. On images 10 to 17 F1 at 3.125 um is
then 0.70 for all cells, 0.73 for positive and 0.61 for negative ones.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.ccls import localize
from pipeline.core.localizing import window_side
from pipeline.core.points import NEGATIVE, POSITIVE

CLASSICAL_MPP_UM = 0.5
"""Resolution the constants were chosen at."""
CONTEXT_UM = 16.0
"""Pixels farther than this from a cell do not change it: the margin to read around a region."""

HAEMATOXYLIN = (0.65, 0.70, 0.29)
DAB = (0.27, 0.57, 0.78)
"""Optical densities in red, green and blue (Ruifrok and Johnston 2001)."""
SIGMA_UM = 3.0
WINDOW_RADIUS_UM = 2.0
DAB_WEIGHT = 0.15
"""DAB nuclei are so much darker that at full weight their neighbours vanish."""
DISC_RADIUS_UM = 1.5
"""DAB is averaged over a disc of this radius around the centre."""

_TRUNCATE = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class ClassicalCandidates:
    """Every place that may be a nucleus, for thresholds to choose from.

    Attributes
    ----------
    x_px, y_px
        float64 continuous coordinates, pixel centres at +0.5.
    response
        float32, of the blob filter.
    dab
        float32 mean DAB density about the centre.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    response: NDArray[np.float32]
    dab: NDArray[np.float32]

    def cells(
        self, *, threshold: float, dab_threshold: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
        """Nuclei of a response and their labels, as ``detect_classical`` gives them."""
        kept = self.response >= np.float32(threshold)
        label = np.where(self.dab[kept] >= dab_threshold, POSITIVE, NEGATIVE).astype(np.uint8)
        return self.x_px[kept], self.y_px[kept], label


def detect_classical(
    rgb: NDArray[np.uint8],
    *,
    mpp_um: float,
    threshold: float = 0.03,
    dab_threshold: float = 0.6,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Find stained nuclei and label them by their DAB density.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` uint8.
    mpp_um
        Micrometres per pixel of ``rgb``; sizes are in micrometres, so any of about 0.2 to 1 works.
    threshold
        Least response of a nucleus (scale-normalised, root of optical density).
    dab_threshold
        Mean DAB density from which a nucleus is positive.

    Returns
    -------
    ``x_px, y_px`` float64 continuous coordinates (pixel centres at +0.5), label uint8.
    """
    found = classical_candidates(rgb, mpp_um=mpp_um, floor=threshold)
    return found.cells(threshold=threshold, dab_threshold=dab_threshold)


def classical_candidates(
    rgb: NDArray[np.uint8], *, mpp_um: float, floor: float
) -> ClassicalCandidates:
    """Find every place whose response reaches ``floor``: the cells of all thresholds from there on.

    See ``detect_classical`` for the parameters.
    """
    haematoxylin, dab = stain_densities(rgb)
    peaks = localize(
        _response(haematoxylin + np.float32(DAB_WEIGHT) * dab, SIGMA_UM / mpp_um)[None],
        window=window_side(WINDOW_RADIUS_UM, mpp_um),
        threshold=floor,
    )
    mean_dab = _disc_means(dab, peaks.row, peaks.col, DISC_RADIUS_UM / mpp_um)
    return ClassicalCandidates(peaks.x_px, peaks.y_px, peaks.score, mean_dab)


def stain_densities(
    rgb: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Haematoxylin and DAB optical density of each pixel, ``(H, W)`` float32, at least 0."""
    density = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)
    # element by element, not as a matrix product: its rounding would depend on the picture's shape
    red, green, blue = (np.take(density, rgb[:, :, channel], mode="clip") for channel in range(3))
    weight = _unmixing()
    haematoxylin, dab = (
        np.maximum(weight[0, stain] * red + weight[1, stain] * green + weight[2, stain] * blue, 0)
        for stain in range(2)
    )
    return haematoxylin, dab


@lru_cache(maxsize=1)
def _unmixing() -> NDArray[np.float32]:
    """``(3, 3)``: what each colour's density adds to each stain's."""
    vectors = np.array([HAEMATOXYLIN, DAB, np.cross(HAEMATOXYLIN, DAB)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.linalg.inv(unit).astype(np.float32)


def _response(density: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Blob response; the root lifts pale nuclei beside dark ones, but not steps in glass."""
    blobs = ndimage.gaussian_laplace(
        np.sqrt(density + np.float32(0.02)), sigma_px, mode="nearest", truncate=_TRUNCATE
    )
    return np.asarray(-(sigma_px**2) * blobs, np.float32)


def _disc_means(
    values: NDArray[np.float32], row: NDArray[np.int32], col: NDArray[np.int32], radius_px: float
) -> NDArray[np.float32]:
    """Mean over the disc about each place; beyond the picture the pixel at its border stands."""
    reach = math.ceil(radius_px)
    padded = np.pad(values, reach, mode="edge")
    y, x = np.mgrid[: 2 * reach + 1, : 2 * reach + 1]
    inside = (x - reach) ** 2 + (y - reach) ** 2 <= radius_px**2
    of_disc = padded[row[:, None] + y[inside], col[:, None] + x[inside]]
    return np.asarray(of_disc.mean(axis=1, dtype=np.float64), np.float32)
