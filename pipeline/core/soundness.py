"""Whether a network's output can be an answer at all: numbers, and not stuck at one value."""

import numpy as np
from numpy.typing import NDArray

STUCK_SHARE = 0.5
"""Of a tile at its highest value: peaks are single pixels, so half a tile is no peak."""

SAMPLED_EVERY = 7
"""Rows and columns of a first look: odd, so that no pattern of a network's strides hides in it."""
SUSPECT_SHARE = STUCK_SHARE / 4

SMALLEST_PX = 32
"""Of fewer rows or columns one value may well be all there is."""
TEXTURE = 24
"""Grey levels between the darkest and the lightest: less is glass, to which one answer fits."""


def all_finite(heatmap: NDArray[np.float32]) -> bool:
    """Whether all values of ``(C, H, W)`` are numbers: a sum lets no NaN and no infinity pass."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = heatmap.sum(axis=1)
    # finite values may add up to more than a float holds
    return bool(np.isfinite(sums).all() or np.isfinite(heatmap).all())


def fault_of(heatmap: NDArray[np.float32], pixels: NDArray[np.uint8], *, floor: float) -> str:
    """Tell why a tile's output is no answer; empty where it is one.

    Zero everywhere is an answer: there is no cell. So is one small value on bare glass.

    Parameters
    ----------
    heatmap
        ``(C, H, W)`` of the tile's core, finite.
    pixels
        ``(H, W, 3)`` that it was predicted from.
    floor
        Heights from here on count as peaks.
    """
    if min(heatmap.shape[1:]) < SMALLEST_PX:
        return ""  # of a sliver at a plane's end nothing can be said
    for values in heatmap:
        if not _suspect(values):
            continue
        highest = float(values.max())
        if highest == 0.0 and not values.any():
            continue
        if highest >= floor and np.count_nonzero(values == highest) > STUCK_SHARE * values.size:
            return f"the network's output is saturated at {highest:g}"
        if float(values.min()) == highest and int(np.ptp(pixels)) >= TEXTURE:
            return f"the network answers {highest:g} whatever it sees"
    return ""


def _suspect(values: NDArray[np.float32]) -> bool:
    """Whether so many of a sample are at its highest value that all pixels must be looked at.

    Where half of all are at the highest value, no even sample has as few as an eighth there.
    """
    sample = values[::SAMPLED_EVERY, ::SAMPLED_EVERY]
    return bool(np.count_nonzero(sample == sample.max()) > SUSPECT_SHARE * sample.size)
