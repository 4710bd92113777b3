"""Rules that turn a heatmap into cells, by name: CCLS, and LMSS and LMDS to compare with.

All three take local maxima; they differ in how near a weaker maximum may lie and in what the
threshold is compared with. Sub-pixel places, merged ties and labels are the same for all.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.core.ccls import Peaks

PostKind = Literal["ccls", "lmss", "lmds"]
POST_KINDS: tuple[PostKind, ...] = get_args(PostKind)
NEIGHBOURS = 3
"""Side in pixels of the neighbourhood of LMSS and LMDS: a pixel and its eight neighbours."""


def window_side(radius_um: float, mpp_um: float) -> int:
    """Odd side of the square window in pixels: ``2 * round(radius / mpp) + 1``.

    3.1 um is the reach of the paper code's two successive 11 x 11 pools in its 512-pixel frame.

    Raises
    ------
    ValueError
        When the radius is under half a pixel: no window would be left.
    """
    reach = round(radius_um / mpp_um)
    if reach < 1:
        raise ValueError(f"radius {radius_um} um is under half a pixel of {mpp_um} um")
    return 2 * reach + 1


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
        if self.kind != "lmds":
            return None
        from pipeline.core.lmds import LMDS_SHARE

        return LMDS_SHARE

    def candidates(self, heatmap: NDArray[np.float32], *, floor: float) -> "Peaks":
        """Every cell whose score reaches ``floor``.

        Parameters
        ----------
        heatmap
            ``(C, H, W)`` float32, C = 2 (positive, negative) or 1.
        floor
            Above 0. Of LMDS both this and the scores are shares of the map's highest value.
        """
        # here: scipy, which a driver that only names the rule does without
        from pipeline.core.ccls import find_peaks, merge_ties
        from pipeline.core.lmds import find_lmds

        if self.kind == "lmds":
            return find_lmds(heatmap, window=self.window, share=floor)
        return merge_ties(find_peaks(heatmap, window=self.window, floor=floor))
