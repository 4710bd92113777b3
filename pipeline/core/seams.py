"""Exact seams: of the peaks that a region finds near a neighbour, those that it does not outrank.

With reach r = (window - 1) / 2, a peak's fate depends on values within r of it. What lies at depth
>= r from a region's inner borders is settled there. Nearer to a border a peak of the region alone
is undecided: the region saves it, and the outermost r rows and columns of its heatmap. Along each
border line the strips of both sides join to a band 2r wide, which holds all of a neighbour that an
undecided peak's window can see. So every pixel is judged exactly once by the rule of ``core.ccls``,
and the size of regions changes nothing, bit for bit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, find_peaks, parabola_top
from pipeline.core.tiling import Box, RegionGrid

Heatmap = NDArray[np.float32]
_AT_ONCE = 4096
"""Undecided peaks whose windows are held together."""


class Strips(Protocol):
    """What a region saved of its heatmap; what is not asked for need not be read."""

    @property
    def rows(self) -> Heatmap:
        """``(2, depth, width)``: the topmost rows and the lowest, of the higher channel."""

    @property
    def cols(self) -> Heatmap:
        """``(2, height, depth)``: the leftmost columns and the rightmost, of the higher channel."""


@dataclass(frozen=True, slots=True, eq=False)
class BorderStrips:
    """The outermost rows and columns of one region's heatmap, float32; see :class:`Strips`."""

    rows: Heatmap
    cols: Heatmap


StripsOf = Callable[[int, int], Strips | None]
"""(region row, region column) -> its strips, None where nothing was predicted (all zero)."""


def strip_depth(window: int) -> int:
    """Rows or columns of a strip: the reach, and one pixel behind the border's for its parabola."""
    return max((window - 1) // 2, 2)


def border_strips(heatmap: Heatmap, *, window: int) -> BorderStrips:
    """Copy the strips that a region of ``(C, height, width)`` must save."""
    depth = strip_depth(window)
    return BorderStrips(
        rows=np.stack([heatmap[:, :depth].max(axis=0), heatmap[:, -depth:].max(axis=0)]),
        cols=np.stack([heatmap[:, :, :depth].max(axis=0), heatmap[:, :, -depth:].max(axis=0)]),
    )


def settle_region(
    heatmap: Heatmap, box: Box, *, plane_width: int, plane_height: int, window: int, floor: float
) -> tuple[Peaks, Peaks]:
    """Peak pixels of one region: those that no neighbour can change, and the undecided.

    Parameters
    ----------
    heatmap
        ``(C, box.height, box.width)`` float32.
    box
        The region's place in the plane; sides on the plane's own border have no neighbour.
    """
    reach = (window - 1) // 2
    peaks = find_peaks(heatmap, window=window, floor=floor, x0=box.x0, y0=box.y0)
    x0 = box.x0 + reach * (box.x0 > 0)
    y0 = box.y0 + reach * (box.y0 > 0)
    x1 = box.x1 - reach * (box.x1 < plane_width)
    y1 = box.y1 - reach * (box.y1 < plane_height)
    # in the last region of a row, which may be narrower than the reach, all are undecided
    settled = (peaks.col >= x0) & (peaks.col < x1) & (peaks.row >= y0) & (peaks.row < y1)
    return peaks.take(settled), peaks.take(~settled)


def settle_seams(grid: RegionGrid, undecided: Peaks, strips_of: StripsOf, *, window: int) -> Peaks:
    """Peak pixels among the undecided ones of all regions, at their final sub-pixel places.

    Each region's columns are asked for once and its rows once. Memory is bounded by one band across
    the slide, ``2 * strip_depth(window)`` pixels wide, and the strips it is made of.

    Raises
    ------
    ValueError
        When regions are narrower than ``window - 1``: a pixel could then need a third region.
    """
    if len(grid) > 1 and grid.side < window - 1:
        raise ValueError(
            f"regions of {grid.side} px are narrower than window - 1 = {window - 1}: "
            "use more or larger tiles per region"
        )

    def cols_of(row: int, col: int) -> Heatmap | None:
        strips = strips_of(row, col)
        return None if strips is None else strips.cols

    def rows_of(row: int, col: int) -> Heatmap | None:
        # turned, so that all below is told of columns only
        strips = strips_of(row, col)
        return None if strips is None else strips.rows.swapaxes(1, 2)

    upright = ([cols_of(row, col) for row in range(grid.rows)] for col in range(grid.cols))
    level = ([rows_of(row, col) for col in range(grid.cols)] for row in range(grid.rows))
    width, height, reach = grid.lattice.width, grid.lattice.height, (window - 1) // 2
    depth = strip_depth(window)
    col, row = undecided.col.astype(np.int64), undecided.row.astype(np.int64)
    across = _Line(grid.side, grid.cols, col, row, undecided.score, reach)
    along = _Line(grid.side, grid.rows, row, col, undecided.score, reach)
    x_px, y_px = undecided.x_px.copy(), undecided.y_px.copy()
    stands = np.ones(len(undecided), np.bool_)
    for number, band in _bands(upright, (height, width), grid.side, depth):
        across.judge(number, band, stands, x_px)
    for number, band in _bands(level, (width, height), grid.side, depth):
        along.judge(number, band, stands, y_px)
    moved = Peaks(x_px, y_px, undecided.col, undecided.row, undecided.score, undecided.label)
    return moved.take(stands)


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """The strips of both sides of a border line, ``(along the line, across it)``."""

    values: Heatmap
    start: int
    """Place of the first of ``values`` across the line, in the plane."""

    def at(self, along: NDArray[np.int64], across: NDArray[np.int64]) -> Heatmap:
        """Values at places in the plane, beyond the band those at its border."""
        within = np.clip(across - self.start, 0, self.values.shape[1] - 1)
        return np.asarray(self.values[np.clip(along, 0, len(self.values) - 1), within])


def _bands(
    lines: Iterable[Sequence[Heatmap | None]], plane: tuple[int, int], side: int, depth: int
) -> Iterator[tuple[int, _Band]]:
    """Join the strips along each border line, 0 where nothing was predicted.

    Parameters
    ----------
    lines
        Successive lines of regions; of each region ``(2, along, depth)``.
    plane
        Its sizes along the lines and across them.

    Yields
    ------
    How many lines of regions lie before the border, and its band.
    """
    length, end = plane
    before: list[Heatmap | None] = []
    for number, pairs in enumerate(lines):
        if number:
            line = number * side
            values = np.zeros((length, min(line + depth, end) - line + depth), np.float32)
            after = [None if pair is None else pair[0] for pair in pairs]
            for strips, where in ((before, slice(depth)), (after, slice(depth, None))):
                for place, strip in enumerate(strips):
                    if strip is not None:
                        values[place * side : (place + 1) * side, where] = strip
            yield number, _Band(values, line - depth)
        # copies: the other half of each pair can go
        before = [None if pair is None else pair[1].copy() for pair in pairs]


class _Line:
    """Undecided peaks as the lines between the columns of regions see them (or between the rows).

    Parameters
    ----------
    side, number
        Of a region across the lines; of regions.
    across, along
        int64 pixels of the peaks in the plane.
    """

    def __init__(
        self,
        side: int,
        number: int,
        across: NDArray[np.int64],
        along: NDArray[np.int64],
        score: Heatmap,
        reach: int,
    ) -> None:
        self._across, self._along, self._score, self._reach = across, along, score, reach
        nearest = np.round((across + 0.5) / side).astype(np.int64)
        self._offset = across - nearest * side
        near = (self._offset >= -reach) & (self._offset < reach)
        near &= (nearest > 0) & (nearest < number)
        self._peaks = np.flatnonzero(near)
        # grouped by line
        self._peaks = self._peaks[np.argsort(nearest[self._peaks], kind="stable")]
        self._starts = np.searchsorted(nearest[self._peaks], np.arange(number + 1))

    def judge(
        self, number: int, band: _Band, stands: NDArray[np.bool_], place_px: NDArray[np.float64]
    ) -> None:
        """Strike out peaks of one line that the band outranks; refine the rest across it."""
        reach = np.arange(-self._reach, self._reach + 1)
        peaks = self._peaks[self._starts[number] : self._starts[number + 1]]
        for start in range(0, len(peaks), _AT_ONCE):
            some = peaks[start : start + _AT_ONCE]
            along, across = self._along[some], self._across[some]
            window = band.at(along[:, None, None] + reach[:, None], across[:, None, None] + reach)
            stands[some] &= window.max(axis=(1, 2)) <= self._score[some]
        # of all others both neighbours lie in their own region
        beside = peaks[np.isin(self._offset[peaks], (-1, 0))]
        along, across = self._along[beside], self._across[beside]
        values = [band.at(along, across + step).astype(np.float64) for step in (-1, 0, 1)]
        place_px[beside] = across + 0.5 + parabola_top(*values)
