"""Rules that turn a heatmap into cells, by name: CCLS, and LMSS and LMDS to compare with.

All three take local maxima; they differ in how near a weaker maximum may lie and in what the
threshold is compared with. Sub-pixel places, merged ties and labels are the same for all.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, find_peaks, merge_ties, window_side
from pipeline.core.lmds import LMDS_SHARE, find_lmds

PostKind = Literal["ccls", "lmss", "lmds"]
POST_KINDS: tuple[PostKind, ...] = get_args(PostKind)
NEIGHBOURS = 3
"""Side in pixels of the neighbourhood of LMSS and LMDS: a pixel and its eight neighbours."""


@dataclass(frozen=True, slots=True)
class PeakRule:
    """How cells are read from a heatmap.

    Attributes
    ----------
    kind
        ``ccls``: maxima within ``window``, absolute threshold (the paper's). ``lmss``: maxima among
        the eight neighbours, absolute threshold (the search used on density maps). ``lmds``: the
        same maxima, threshold as a share of the map's own highest value (of FIDT maps).
    window
        Odd side of the neighbourhood in pixels.
    """

    kind: PostKind
    window: int

    @classmethod
    def named(cls, kind: PostKind, *, radius_um: float, mpp_um: float) -> "PeakRule":
        """Make a rule for maps of ``mpp_um``; the radius is that of CCLS.

        Raises
        ------
        ValueError
            There is no rule of that name, or the radius is under half a pixel.
        """
        if kind not in POST_KINDS:
            raise ValueError(f"post={kind!r} is unknown; known: {', '.join(POST_KINDS)}")
        return cls(kind, window_side(radius_um, mpp_um) if kind == "ccls" else NEIGHBOURS)

    @property
    def local(self) -> bool:
        """Whether cells depend on near pixels alone, so that a map may be cut into tiles."""
        return self.kind != "lmds"

    @property
    def usual_threshold(self) -> float | None:
        """The published threshold where it is part of the rule."""
        return LMDS_SHARE if self.kind == "lmds" else None

    def candidates(self, heatmap: NDArray[np.float32], *, floor: float) -> Peaks:
        """Every cell whose score reaches ``floor``.

        Parameters
        ----------
        heatmap
            ``(C, H, W)`` float32, C = 2 (positive, negative) or 1.
        floor
            Above 0. Of LMDS both this and the scores are shares of the map's highest value.
        """
        if self.kind == "lmds":
            return find_lmds(heatmap, window=self.window, share=floor)
        return merge_ties(find_peaks(heatmap, window=self.window, floor=floor))
