"""Laws of masks and tiles: nothing of the tissue is left out, whatever the scales."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.core.coverage import (
    box_in_mask,
    covered_tiles,
    grown,
    pieces_of_points,
    pixels_in_boxes,
    points_in_mask,
    regions_with_squares,
    tiles_with_squares,
)
from pipeline.core.frame import PlaneFrame
from pipeline.core.tiling import RegionGrid, TileLattice

SIDES = st.integers(500, 3000)


def frames(width: int, height: int, mpp: float) -> tuple[PlaneFrame, PlaneFrame]:
    """Model frame (0.5 um) and overview (8 um) of one slide."""
    return (
        PlaneFrame.over(40, 60, width, height, (mpp, mpp), 0.5),
        PlaneFrame.over(40, 60, width, height, (mpp, mpp), 8.0),
    )


def cut(width: int, height: int, mpp: float) -> tuple[PlaneFrame, PlaneFrame, TileLattice]:
    """The frames and the model frame's tiles of 128 px."""
    frame, over = frames(width, height, mpp)
    return frame, over, TileLattice(frame.width, frame.height, core=128, halo=32)


@given(SIDES, SIDES, st.sampled_from([0.25, 0.3, 0.4991]), st.integers(0, 2**32 - 1))
def test_every_point_in_the_mask_lies_in_a_covered_tile(
    width: int, height: int, mpp: float, seed: int
) -> None:
    frame, over, lattice = cut(width, height, mpp)
    rng = np.random.default_rng(seed)
    mask = rng.random((over.height, over.width)) < 0.05
    x_px, y_px = rng.uniform(0, frame.width, 300), rng.uniform(0, frame.height, 300)
    x_l0, y_l0 = frame.to_l0(x_px, y_px)
    tiles = covered_tiles(mask, over, lattice, frame)
    col = np.minimum((x_px // 128).astype(int), lattice.cols - 1)
    row = np.minimum((y_px // 128).astype(int), lattice.rows - 1)
    inside = points_in_mask(x_l0, y_l0, mask, over)
    assert tiles[row[inside], col[inside]].all()


def test_an_empty_mask_covers_no_tile_and_a_full_one_all() -> None:
    frame, over, lattice = cut(2000, 1500, 0.25)
    mask = np.zeros((over.height, over.width), bool)
    assert not covered_tiles(mask, over, lattice, frame).any()
    assert covered_tiles(~mask, over, lattice, frame).all()


@given(
    st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 2, 3]), st.integers(0, 2**32 - 1)
)
def test_regions_with_tissue_are_sent_by_how_much_they_hold(
    width: int, height: int, tiles_per_side: int, seed: int
) -> None:
    grid = RegionGrid(TileLattice(width, height, core=128, halo=32, square=64), tiles_per_side)
    lattice = grid.lattice
    squares = np.random.default_rng(seed).random((lattice.squares.rows, lattice.squares.cols)) < 0.2
    tiles = tiles_with_squares(squares, lattice)
    held = {
        region.index: sum(
            int(squares[2 * tile.row : 2 * tile.row + 2, 2 * tile.col : 2 * tile.col + 2].sum())
            for tile in region.tiles
        )
        for region in grid
    }
    sent = regions_with_squares(squares, grid)
    assert sorted(sent) == [index for index in held if held[index]]
    assert [held[index] for index in sent] == sorted((held[i] for i in sent), reverse=True)
    assert tiles.any() == bool(sent)


@given(SIDES, SIDES, st.sampled_from([0.2, 0.25, 0.4]), st.integers(0, 2**32 - 1))
def test_a_tile_is_covered_where_its_part_of_the_mask_has_a_pixel(
    width: int, height: int, mpp: float, seed: int
) -> None:
    frame, over, lattice = cut(width, height, mpp)
    mask = np.random.default_rng(seed).random((over.height, over.width)) < 0.01
    covered = covered_tiles(mask, over, lattice, frame)
    assert covered.shape == (lattice.rows, lattice.cols)
    for row, col in np.ndindex(covered.shape):
        box = box_in_mask(lattice.tile(row, col).core, frame, mask, over)
        assert covered[row, col] == mask[box.y0 : box.y1, box.x0 : box.x1].any()


@given(st.integers(0, 2**32 - 1), st.floats(0, 6))
def test_a_grown_mask_is_the_pixels_within_the_radius(seed: int, radius_px: float) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.03
    row, col = np.indices(mask.shape)
    ours = grown(mask, radius_px=radius_px)
    near = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        near |= (row - y) ** 2 + (col - x) ** 2 <= radius_px**2
    assert np.array_equal(ours, near)


def test_pixels_in_disjoint_boxes_that_cover_the_plane_are_the_whole_mask_once() -> None:
    frame, over = frames(2100, 1500, 0.25)
    lattice = TileLattice(frame.width, frame.height, core=128, halo=32)
    mask = np.random.default_rng(0).random((over.height, over.width)) < 0.5
    boxes = [lattice.tile(r, c).core for r in range(lattice.rows) for c in range(lattice.cols)]
    parts = [pixels_in_boxes([box], frame, mask, over) for box in boxes]
    assert np.array_equal(np.sum(parts, axis=0), mask)


def test_a_point_in_the_margin_belongs_to_the_nearest_piece() -> None:
    _, over = frames(3200, 3200, 0.25)
    labels = np.zeros((over.height, over.width), np.int32)
    labels[10:30, 10:30], labels[10:30, 50:70] = 1, 2
    x_l0, y_l0 = over.to_l0(np.array([20.5, 33.5, 47.5, 90.5]), np.array([20.5] * 4))
    owner = pieces_of_points(x_l0, y_l0, labels, over, margin_px=6.25)
    assert owner.tolist() == [1, 1, 2, 0]


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 6), st.integers(0, 2**32 - 1))
def test_a_point_near_tissue_has_a_nearest_piece_and_one_far_away_none(
    width: int, height: int, margin_px: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels, _ = ndimage.label(rng.random((height, width)) < rng.choice([0.02, 0.3, 0.7]))
    labels = labels.astype(np.int32)
    row, col = (at.ravel() for at in np.indices(labels.shape))
    over = PlaneFrame(0, 0, 1.0, 1.0, width, height)
    owner = pieces_of_points(col + 0.5, row + 0.5, labels, over, margin_px=margin_px)
    for place in range(len(row)):
        squares = (row - row[place]) ** 2 + (col - col[place]) ** 2
        squares = np.where(labels.ravel() > 0, squares, np.inf)
        nearest = set(labels.ravel()[squares == squares.min()].tolist())
        within = np.sqrt(squares.min()) <= margin_px + 1.5
        assert int(owner[place]) in (nearest if within else {0})
