"""What of a tile is predicted and its pixels: parts with tissue, less what cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.core.coverage import squares_of_tile
from pipeline.core.parts import cheapest_parts
from pipeline.core.tiling import Box, Tile, TileLattice
from pipeline.errors import UnreadableSlideError
from pipeline.io.plane import SlidePlane
from pipeline.io.reading import WHITE

Pixels = NDArray[np.uint8]
Squares = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A rectangle that is predicted in one go; no other part has a pixel of its core."""

    core: Box
    """Whole squares of one tile, not clipped to the plane."""
    pixels: Pixels
    """``(H, W, 3)`` of the core and the halo about it; white beyond the plane."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionPixels:
    """All that is read of a region."""

    parts: tuple[Part, ...]
    unreadable: NDArray[np.int32]
    """``(N, 2)`` row and column of squares with tissue that could not be read."""


def read_parts(
    plane: SlidePlane, lattice: TileLattice, tiles: Sequence[Tile], squares: Squares
) -> RegionPixels:
    """Read the tiles of a region at once; where that fails, each alone and around its damage.

    Parameters
    ----------
    squares
        ``(rows, cols)`` of the lattice's squares: those with tissue.
    """
    wanted = [squares_of_tile(squares, lattice, tile) for tile in tiles]
    boxes = [_parts(lattice, tile, of_tile) for tile, of_tile in zip(tiles, wanted, strict=True)]
    sources = [_around(cores, lattice.halo) for cores in boxes]
    whole = _around(sources, 0)
    try:
        pixels = plane.read(whole)
    except UnreadableSlideError:
        return _read_damaged(plane, lattice, tiles, wanted, sources)
    parts = _cut(pixels, whole, [core for cores in boxes for core in cores], lattice.halo)
    return RegionPixels(tuple(parts), np.empty((0, 2), np.int32))


def _read_damaged(
    plane: SlidePlane,
    lattice: TileLattice,
    tiles: Sequence[Tile],
    wanted: Sequence[Squares],
    sources: Sequence[Box],
) -> RegionPixels:
    """Read tile by tile: what is white depends on the tile alone, not on the region."""
    parts: list[Part] = []
    unreadable: list[tuple[int, int]] = []
    for tile, of_tile, source in zip(tiles, wanted, sources, strict=True):
        pixels, damaged = _around_damage(plane, lattice, tile, source)
        parts += _cut(pixels, source, _parts(lattice, tile, of_tile & ~damaged), lattice.halo)
        side = len(of_tile)
        unreadable += [
            (tile.row * side + int(row), tile.col * side + int(col))
            for row, col in np.argwhere(of_tile & damaged)
        ]
    return RegionPixels(tuple(parts), np.array(unreadable, np.int32).reshape(-1, 2))


def _around_damage(
    plane: SlidePlane, lattice: TileLattice, tile: Tile, source: Box
) -> tuple[Pixels, Squares]:
    """One tile's pixels, white where they are damaged, and the squares of its core that are."""
    side = lattice.core // lattice.square
    damaged = np.zeros((side, side), np.bool_)
    try:
        return plane.read(source), damaged
    except UnreadableSlideError:
        pixels = np.full((source.height, source.width, 3), WHITE, np.uint8)
    x0, y0 = tile.col * lattice.core, tile.row * lattice.core
    # squares within the core, and one strip of halo on either side of them
    rows = [source.y0, *range(y0, y0 + lattice.core + 1, lattice.square), source.y1]
    cols = [source.x0, *range(x0, x0 + lattice.core + 1, lattice.square), source.x1]
    for row, (top, bottom) in enumerate(pairwise(rows), start=-1):
        for col, (left, right) in enumerate(pairwise(cols), start=-1):
            x, y = max(left, source.x0), max(top, source.y0)
            box = Box(x, y, max(x, min(right, source.x1)), max(y, min(bottom, source.y1)))
            if not box.width or not box.height:
                continue
            try:
                pixels[place(box, source)] = plane.read(box)
            except UnreadableSlideError:
                if 0 <= row < side and 0 <= col < side:
                    damaged[row, col] = True
    return pixels, damaged


def place(box: Box, inside: Box) -> tuple[slice, slice]:
    """Where a box lies in an array of ``inside``: row slice, column slice."""
    return (
        slice(box.y0 - inside.y0, box.y1 - inside.y0),
        slice(box.x0 - inside.x0, box.x1 - inside.x0),
    )


def _parts(lattice: TileLattice, tile: Tile, squares: Squares) -> list[Box]:
    """Cores of the parts of one tile, pixels of the plane."""
    x0, y0 = tile.col * lattice.core, tile.row * lattice.core
    boxes = cheapest_parts(squares, square_px=lattice.square, halo_px=lattice.halo)
    return [Box(x0 + b.x0, y0 + b.y0, x0 + b.x1, y0 + b.y1) for b in boxes]


def _around(boxes: Sequence[Box], halo: int) -> Box:
    """The least box that holds all boxes and a halo."""
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    ).grown(halo)


def _cut(pixels: Pixels, box: Box, cores: Sequence[Box], halo: int) -> list[Part]:
    return [Part(core, pixels[place(core.grown(halo), box)]) for core in cores]
