"""Whether a network's output can be an answer at all: not where it is stuck at one value."""

import numpy as np
from numpy.typing import NDArray

STUCK_SHARE = 0.5
"""Of a tile at its highest value: peaks are single pixels, so half a tile is no peak."""

TEXTURE = 24
"""Grey levels between the darkest and the lightest: less is glass, to which one answer fits."""


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
    for values in heatmap:
        highest = float(values.max())
        if highest == 0.0 and not values.any():
            continue
        if highest >= floor and np.count_nonzero(values == highest) > STUCK_SHARE * values.size:
            return f"the network's output is saturated at {highest:g}"
        if float(values.min()) == highest and int(np.ptp(pixels)) >= TEXTURE:
            return f"the network answers {highest:g} whatever it sees"
    return ""
