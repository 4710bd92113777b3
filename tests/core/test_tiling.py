"""The lattice: disjoint cores that cover the plane, whole sources, regions of tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.tiling import (
    MOST_SQUARES,
    SQUARE_UM,
    STRIDE_PX,
    Box,
    RegionGrid,
    TileLattice,
    square_side,
)

LATTICES = st.builds(
    TileLattice,
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    core=st.sampled_from([32, 64, 96]),
    halo=st.sampled_from([0, 32, 64]),
)


def fill(owners: np.ndarray, box: Box) -> None:
    owners[box.y0 : box.y1, box.x0 : box.x1] += 1


@given(LATTICES)
def test_every_pixel_belongs_to_exactly_one_tile(lattice: TileLattice) -> None:
    owners = np.zeros((lattice.height, lattice.width), int)
    for row in range(lattice.rows):
        for col in range(lattice.cols):
            fill(owners, lattice.tile(row, col).core)
    assert (owners == 1).all()


@given(LATTICES, st.integers(1, 4))
def test_every_pixel_belongs_to_exactly_one_region_and_its_tiles(
    lattice: TileLattice, side: int
) -> None:
    grid = RegionGrid(lattice, side)
    by_region = np.zeros((lattice.height, lattice.width), int)
    by_tile = by_region.copy()
    for region in grid:
        fill(by_region, region.box)
        for tile in region.tiles:
            fill(by_tile, tile.core)
            assert region.box.x0 <= tile.core.x0
            assert region.box.y0 <= tile.core.y0
            assert tile.core.x1 <= region.box.x1
            assert tile.core.y1 <= region.box.y1
    assert (by_region == 1).all()
    assert (by_tile == 1).all()


@given(LATTICES)
def test_every_tile_is_read_whole_at_the_networks_phase(lattice: TileLattice) -> None:
    for row in range(lattice.rows):
        for col in range(lattice.cols):
            source = lattice.tile(row, col).source
            assert source.width == source.height == lattice.core + 2 * lattice.halo
            assert source.x0 % lattice.stride == source.y0 % lattice.stride == 0


@given(LATTICES, st.integers(1, 4))
def test_regions_are_numbered_by_rows(lattice: TileLattice, side: int) -> None:
    grid = RegionGrid(lattice, side)
    assert len(grid) == len(list(grid)) == grid.rows * grid.cols
    for number, region in enumerate(grid):
        assert region.index == number == region.row * grid.cols + region.col
        assert grid.region(number) == region


@given(LATTICES)
def test_the_size_of_regions_changes_no_tile(lattice: TileLattice) -> None:
    def tiles(side: int) -> set[object]:
        return {tile for region in RegionGrid(lattice, side) for tile in region.tiles}

    assert tiles(1) == tiles(2) == tiles(3)


def test_a_plane_of_one_pixel_has_one_tile() -> None:
    lattice = TileLattice(1, 1, 32, 32)
    assert (lattice.rows, lattice.cols) == (1, 1)
    assert lattice.tile(0, 0).core == Box(0, 0, 1, 1)
    assert lattice.tile(0, 0).source == Box(-32, -32, 64, 64)


@given(core=st.integers(1, 100).map(lambda n: 32 * n), mpp=st.floats(0.05, 4.0))
def test_a_square_divides_the_core_of_a_tile(core: int, mpp: float) -> None:
    side = square_side(core, mpp)
    assert core % side == 0
    assert side % STRIDE_PX == 0
    assert core // side <= MOST_SQUARES


def test_default_tiles_have_squares_of_64_um() -> None:
    assert {square_side(1536, mpp) * mpp for mpp in (0.25, 0.5, 1.0)} == {SQUARE_UM}


def test_a_core_of_no_squares_is_refused() -> None:
    with pytest.raises(ValueError, match="core_px=100"):
        square_side(100, 0.5)
    with pytest.raises(ValueError, match="core=96 is not a multiple of square=64"):
        TileLattice(10, 10, 96, 0, square=64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0, 10, 32, 32), "empty plane: 0 x 10"),
        ((10, 10, 0, 32), "core=0 is not a multiple of stride=32"),
        ((10, 10, 33, 32), "core=33"),
        ((10, 10, 32, -32), "halo=-32"),
        ((10, 10, 32, 20), "halo=20"),
    ],
)
def test_impossible_lattices_are_refused_with_the_value(
    settings: tuple[int, int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TileLattice(*settings)


def test_tiles_and_regions_outside_the_plane_do_not_exist() -> None:
    lattice = TileLattice(100, 100, 64, 32)
    with pytest.raises(IndexError, match=r"no tile \(2, 0\) in 2 x 2"):
        lattice.tile(2, 0)
    with pytest.raises(IndexError, match=r"no tile \(0, -1\)"):
        lattice.tile(0, -1)
    with pytest.raises(IndexError, match="no region 1 in 1 x 1"):
        RegionGrid(lattice, 2).region(1)


def test_regions_need_a_tile() -> None:
    with pytest.raises(ValueError, match="tiles_per_side=0"):
        RegionGrid(TileLattice(10, 10, 32, 0), 0)


def test_boxes_grow_on_every_side_and_cannot_end_before_they_begin() -> None:
    assert Box(10, 20, 30, 50).grown(5) == Box(5, 15, 35, 55)
    assert (Box(10, 20, 30, 50).width, Box(10, 20, 30, 50).height) == (20, 30)
    with pytest.raises(ValueError, match="ends before it begins"):
        Box(10, 0, 9, 5)
