"""Laws of reading parts: the same pixels with and without company, damage cut out by squares."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.frame import PlaneFrame
from pipeline.core.tiling import TileLattice
from pipeline.io.plane import SlidePlane
from pipeline.io.slides import open_slide
from pipeline.run.tile_pixels import RegionPixels, place, read_parts
from tests.run.small_slides import spoil_tile, stained_tissue, write_slide

LATTICE = TileLattice(width=2048, height=1536, core=1024, halo=64, square=256)
TILES = [LATTICE.tile(0, 0), LATTICE.tile(0, 1)]
SPOILED = (2, 5)
"""Row and column of a JPEG tile, which is a square of the second tile of the lattice."""


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> tuple[SlidePlane, SlidePlane]:
    """A whole slide and the same with one damaged JPEG tile, seen at level 0."""
    folder, pixels = tmp_path_factory.mktemp("planes"), stained_tissue(5)
    paths = [write_slide(folder / name, pixels) for name in ("whole.tif", "spoiled.tif")]
    spoil_tile(paths[1], SPOILED[0] * 8 + SPOILED[1])
    return _plane(paths[0]), _plane(paths[1])


def _plane(path: Path) -> SlidePlane:
    slide = open_slide(path)
    return SlidePlane(slide, PlaneFrame.over(0, 0, *slide.size, (0.25, 0.25), 0.25))


@pytest.fixture
def squares() -> NDArray[np.bool_]:
    """Tissue in most squares, glass in a corner of each tile."""
    found = np.ones((6, 8), np.bool_)
    found[:2, :2] = found[:3, 6:] = False
    return found


def _by_core(read: RegionPixels) -> dict[object, bytes]:
    return {part.core: part.pixels.tobytes() for part in read.parts}


def test_parts_are_the_same_read_together_or_tile_by_tile(
    planes: tuple[SlidePlane, SlidePlane], squares: NDArray[np.bool_]
) -> None:
    for plane in planes:
        together = read_parts(plane, LATTICE, TILES, squares)
        alone = [read_parts(plane, LATTICE, [tile], squares) for tile in TILES]
        assert _by_core(together) == _by_core(alone[0]) | _by_core(alone[1])
        unreadable = np.concatenate([read.unreadable for read in alone])
        assert np.array_equal(together.unreadable, unreadable)


def test_only_the_damaged_square_is_lost(
    planes: tuple[SlidePlane, SlidePlane], squares: NDArray[np.bool_]
) -> None:
    whole, spoiled = (read_parts(plane, LATTICE, TILES, squares) for plane in planes)
    assert whole.unreadable.tolist() == []
    assert spoiled.unreadable.tolist() == [list(SPOILED)]
    lost = LATTICE.squares.tile(*SPOILED).core
    for part in spoiled.parts:
        source = part.core.grown(LATTICE.halo)
        inside = part.pixels[place(lost, source)] if source.x0 <= lost.x0 else np.empty(0)
        assert (inside == 255).all()
    kept = np.zeros((6, 8), np.bool_)
    for part in spoiled.parts:
        box = [side // 256 for side in (part.core.y0, part.core.y1, part.core.x0, part.core.x1)]
        kept[box[0] : box[1], box[2] : box[3]] = True
    wanted = squares.copy()
    wanted[4:] = wanted[SPOILED] = False
    assert kept[wanted].all()
    # far from the damage the pixels are those of the whole slide
    first = [part for part in whole.parts if part.core.x1 <= 1024]
    assert {part.core for part in first} <= {part.core for part in spoiled.parts}
    for part in first:
        same = next(other for other in spoiled.parts if other.core == part.core)
        assert np.array_equal(same.pixels, part.pixels)


def test_damage_on_glass_costs_nothing(planes: tuple[SlidePlane, SlidePlane]) -> None:
    squares = np.zeros((6, 8), np.bool_)
    squares[0, 4] = True
    assert read_parts(planes[1], LATTICE, TILES[1:], squares).unreadable.tolist() == []
