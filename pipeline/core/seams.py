"""Exact seams: regions settle what is deep enough, the joined border strips settle the rest.

With reach r = (window - 1) / 2, a pixel's fate depends on values within r of it. A region settles
the pixels at depth >= r from its inner borders and saves the outermost 2r rows and columns of its
heatmap. Along each border line the strips of both sides join to a band 4r wide, in which the
pixels nearer than r to the line see their whole neighbourhood. So every pixel is settled exactly
once by the rule of ``core.ccls``, and the size of regions changes nothing, bit for bit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, find_peaks
from pipeline.core.tiling import Box, RegionGrid

Heatmap = NDArray[np.float32]


class Strips(Protocol):
    """What a region saved of its heatmap; what is not asked for need not be read."""

    @property
    def rows(self) -> Heatmap:
        """``(2, C, depth, width)``: the topmost rows and the lowest."""

    @property
    def cols(self) -> Heatmap:
        """``(2, C, height, depth)``: the leftmost columns and the rightmost."""


@dataclass(frozen=True, slots=True, eq=False)
class BorderStrips:
    """The outermost rows and columns of one region's heatmap, float32; see :class:`Strips`."""

    rows: Heatmap
    cols: Heatmap


StripsOf = Callable[[int, int], Strips | None]
"""(region row, region column) -> its strips, None where nothing was predicted (all zero)."""


def border_strips(heatmap: Heatmap, *, window: int) -> BorderStrips:
    """Copy the strips a region must save: ``window - 1`` rows or columns on each side."""
    width = window - 1
    return BorderStrips(
        rows=np.stack([heatmap[:, :width], heatmap[:, -width:]]),
        cols=np.stack([heatmap[:, :, :width], heatmap[:, :, -width:]]),
    )


def settle_region(
    heatmap: Heatmap, box: Box, *, plane_width: int, plane_height: int, window: int, floor: float
) -> Peaks:
    """Peak pixels of one region that no neighbour can change.

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
    # the last region of a row may be narrower than the reach: then its seam settles all of it
    inner = Box(x0, y0, max(x0, x1), max(y0, y1))
    return peaks.take(_inside(peaks, inner))


def settle_seams(grid: RegionGrid, strips_of: StripsOf, *, window: int, floor: float) -> Peaks:
    """Peak pixels nearer than the reach to a border between regions.

    Each region's columns are asked for once and its rows once. Memory is bounded by one band across
    the slide, ``2 * (window - 1)`` pixels wide, and the strips it is made of.

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
        strips = strips_of(row, col)
        return None if strips is None else strips.rows

    upright = ([cols_of(row, col) for row in range(grid.rows)] for col in range(grid.cols))
    level = ([rows_of(row, col) for col in range(grid.cols)] for row in range(grid.rows))
    parts = [_settle_vertical(grid, border, window, floor) for border in _borders(upright)]
    parts += [_settle_horizontal(grid, border, window, floor) for border in _borders(level)]
    return Peaks.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Border:
    """A border line across the slide, and of each pair of regions that meet there the strips."""

    number: int
    """Of the regions after it; the line's place is this many sides of a region."""
    before: list[Heatmap | None]
    after: list[Heatmap | None]

    def band(self, shape: tuple[int, int], side: int, depth: int, axis: int) -> Heatmap | None:
        """Join the strips to ``(C, *shape)``, None where nothing was predicted.

        ``axis`` is the one that crosses the line: 1 is that of rows, 2 that of columns.
        """
        strips = [strip for strip in (*self.before, *self.after) if strip is not None]
        if not strips:
            return None
        band = np.zeros((len(strips[0]), *shape), np.float32)
        across = band.swapaxes(axis, 2)
        for place, pair in enumerate(zip(self.before, self.after, strict=True)):
            along = slice(place * side, (place + 1) * side)
            for strip, where in zip(pair, (slice(depth), slice(depth, None)), strict=True):
                if strip is not None:
                    across[:, along, where] = strip.swapaxes(axis, 2)
        return band


def _borders(lines: Iterable[Sequence[Heatmap | None]]) -> Iterator[_Border]:
    """Borders between the pairs of strips of successive lines of regions."""
    before: list[Heatmap | None] = []
    for number, pairs in enumerate(lines):
        if number:
            after = [None if pair is None else pair[0] for pair in pairs]
            yield _Border(number, before, after)
        # copies: the other half of each pair can go
        before = [None if pair is None else pair[1].copy() for pair in pairs]


def _settle_vertical(grid: RegionGrid, border: _Border, window: int, floor: float) -> Peaks:
    """Settle the band along a line between columns of regions."""
    reach, depth = (window - 1) // 2, window - 1
    line, lattice = border.number * grid.side, grid.lattice
    x0, x1 = line - depth, min(line + depth, lattice.width)
    band = border.band((lattice.height, x1 - x0), grid.side, depth, 2)
    if band is None:
        return Peaks.empty()
    peaks = find_peaks(band, window=window, floor=floor, x0=x0)
    return peaks.take(
        _inside(peaks, Box(line - reach, 0, min(line + reach, lattice.width), lattice.height))
    )


def _settle_horizontal(grid: RegionGrid, border: _Border, window: int, floor: float) -> Peaks:
    """Settle the band between rows of regions, less what the vertical bands settled."""
    reach, depth = (window - 1) // 2, window - 1
    line, lattice = border.number * grid.side, grid.lattice
    y0, y1 = line - depth, min(line + depth, lattice.height)
    band = border.band((y1 - y0, lattice.width), grid.side, depth, 1)
    if band is None:
        return Peaks.empty()
    peaks = find_peaks(band, window=window, floor=floor, y0=y0)
    near = _inside(peaks, Box(0, line - reach, lattice.width, min(line + reach, lattice.height)))
    return peaks.take(near & ~_near_vertical_line(peaks, grid, reach))


def _near_vertical_line(peaks: Peaks, grid: RegionGrid, reach: int) -> NDArray[np.bool_]:
    """Whether a peak lies in ``[line - reach, line + reach)`` of a line between region columns."""
    line = np.round((peaks.col + 0.5) / grid.side).astype(np.int64)
    exists = (line > 0) & (line < grid.cols)
    offset = peaks.col - line * grid.side
    return np.asarray(exists & (offset >= -reach) & (offset < reach))


def _inside(peaks: Peaks, box: Box) -> NDArray[np.bool_]:
    return np.asarray(
        (peaks.col >= box.x0) & (peaks.col < box.x1) & (peaks.row >= box.y0) & (peaks.row < box.y1)
    )
