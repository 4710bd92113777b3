"""Exact seams: regions settle what is deep enough, the joined border strips settle the rest.

With reach r = (window - 1) / 2, a pixel's fate depends on values within r of it. A region settles
the pixels at depth >= r from its inner borders and saves the outermost 2r rows and columns of its
heatmap. Along each border line the strips of both sides join to a band 4r wide, in which the
pixels nearer than r to the line see their whole neighbourhood. So every pixel is settled exactly
once by the rule of ``core.ccls``, and the size of regions changes nothing, bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, find_peaks
from pipeline.core.tiling import Box, RegionGrid

Heatmap = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class BorderStrips:
    """The outermost rows and columns of one region's heatmap, each ``(C, rows, cols)`` float32."""

    top: Heatmap
    bottom: Heatmap
    left: Heatmap
    right: Heatmap


StripsOf = Callable[[int, int], BorderStrips | None]
"""(region row, region column) -> its strips, None where nothing was predicted (all zero)."""


def border_strips(heatmap: Heatmap, *, window: int) -> BorderStrips:
    """Copy the strips a region must save: ``window - 1`` rows or columns on each side."""
    width = window - 1
    return BorderStrips(
        top=heatmap[:, :width].copy(),
        bottom=heatmap[:, -width:].copy(),
        left=heatmap[:, :, :width].copy(),
        right=heatmap[:, :, -width:].copy(),
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

    Memory is bounded by one band across the slide, ``2 * (window - 1)`` pixels wide.

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
    parts = [
        _settle_vertical(grid, strips_of, col, window, floor) for col in range(1, grid.cols)
    ] + [_settle_horizontal(grid, strips_of, row, window, floor) for row in range(1, grid.rows)]
    return Peaks.concatenate(parts)


def _settle_vertical(
    grid: RegionGrid, strips_of: StripsOf, col: int, window: int, floor: float
) -> Peaks:
    """Settle the band along the line between region columns ``col - 1`` and ``col``."""
    reach, depth = (window - 1) // 2, window - 1
    line, lattice = col * grid.side, grid.lattice
    x0, x1 = line - depth, min(line + depth, lattice.width)
    band: Heatmap | None = None
    for row in range(grid.rows):
        y0, y1 = row * grid.side, min((row + 1) * grid.side, lattice.height)
        before, after = strips_of(row, col - 1), strips_of(row, col)
        for strips in (before, after):
            if strips is not None and band is None:
                band = np.zeros((len(strips.left), lattice.height, x1 - x0), np.float32)
        if band is not None and before is not None:
            band[:, y0:y1, :depth] = before.right
        if band is not None and after is not None:
            band[:, y0:y1, depth:] = after.left
    if band is None:
        return Peaks.empty()
    peaks = find_peaks(band, window=window, floor=floor, x0=x0)
    return peaks.take(
        _inside(peaks, Box(line - reach, 0, min(line + reach, lattice.width), lattice.height))
    )


def _settle_horizontal(
    grid: RegionGrid, strips_of: StripsOf, row: int, window: int, floor: float
) -> Peaks:
    """Settle the band between region rows, less what the vertical bands settled."""
    reach, depth = (window - 1) // 2, window - 1
    line, lattice = row * grid.side, grid.lattice
    y0, y1 = line - depth, min(line + depth, lattice.height)
    band: Heatmap | None = None
    for col in range(grid.cols):
        x0, x1 = col * grid.side, min((col + 1) * grid.side, lattice.width)
        above, below = strips_of(row - 1, col), strips_of(row, col)
        for strips in (above, below):
            if strips is not None and band is None:
                band = np.zeros((len(strips.top), y1 - y0, lattice.width), np.float32)
        if band is not None and above is not None:
            band[:, :depth, x0:x1] = above.bottom
        if band is not None and below is not None:
            band[:, depth:, x0:x1] = below.top
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
