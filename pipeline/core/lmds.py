"""Local maxima detection strategy (LMDS): a threshold relative to the map's own highest value.

Only for comparison on whole annotated fields. One dark cell raises the threshold for every pale one
of the same map, so cells depend on where a map is cut: it must not be used tile by tile.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, find_peaks, merge_ties

LMDS_SHARE = 100 / 255
LMDS_LEAST_MAXIMUM = 0.1
"""A map whose highest value is lower has no cell."""


def find_lmds(heatmap: NDArray[np.float32], *, window: int = 3, share: float = LMDS_SHARE) -> Peaks:
    """Find maxima that reach a share of the highest value of the map.

    Parameters
    ----------
    heatmap
        ``(C, H, W)`` float32 of one whole field.
    window
        Odd side of the neighbourhood in pixels.
    share
        In (0, 1].

    Returns
    -------
    Peaks
        ``score`` is each peak's share of the highest value, so that a higher threshold can be put
        on the same peaks.

    References
    ----------
    Liang et al., Focal inverse distance transform maps for crowd localization, TMM 2022.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} must be above 0 and at most 1")
    highest = float(heatmap.max(initial=-np.inf))
    if highest < LMDS_LEAST_MAXIMUM:
        return Peaks.empty()
    peaks = merge_ties(find_peaks(heatmap, window=window, floor=share * highest))
    return replace(peaks, score=(peaks.score / np.float32(highest)).astype(np.float32))
