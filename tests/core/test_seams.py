"""Seams: a map cut into regions gives the cells of the whole map, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, find_peaks, localize, merge_ties
from pipeline.core.matching import match
from pipeline.core.seams import BorderStrips, border_strips, settle_region, settle_seams
from pipeline.core.tiling import RegionGrid, TileLattice

Heatmap = NDArray[np.float32]
Draw = Callable[[np.random.Generator, tuple[int, int, int]], Heatmap]


def cut(heatmap: Heatmap, grid: RegionGrid, *, window: int, floor: float, empty: set[int]) -> Peaks:
    """Settle each region alone (``empty`` ones were never predicted), then the seams."""
    _, height, width = heatmap.shape
    strips: dict[tuple[int, int], BorderStrips] = {}
    parts, undecided = [], []
    for region in grid:
        if region.index in empty:
            continue
        box = region.box
        part = np.ascontiguousarray(heatmap[:, box.y0 : box.y1, box.x0 : box.x1])
        strips[region.row, region.col] = border_strips(part, window=window)
        settled, open_still = settle_region(
            part, box, plane_width=width, plane_height=height, window=window, floor=floor
        )
        parts.append(settled)
        undecided.append(open_still)
    seams = settle_seams(
        grid,
        Peaks.concatenate(undecided),
        lambda row, col: strips.get((row, col)),
        window=window,
    )
    return Peaks.concatenate([*parts, seams])


def rows(peaks: Peaks) -> list[bytes]:
    """All columns of the peaks in one order, as bytes."""
    order = np.lexsort((peaks.col, peaks.row))
    names = ("x_px", "y_px", "col", "row", "score", "label")
    return [getattr(peaks, name)[order].tobytes() for name in names]


def nothing_predicted(row: int, col: int) -> BorderStrips | None:
    return None


def noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> Heatmap:
    return rng.normal(0.2, 0.3, shape).astype(np.float32)


def heavy_ties(rng: np.random.Generator, shape: tuple[int, int, int]) -> Heatmap:
    return (np.round(rng.random(shape) * 4) / 4).astype(np.float32)


def sparse_equal_cells(rng: np.random.Generator, shape: tuple[int, int, int]) -> Heatmap:
    return (rng.random(shape) < 0.01).astype(np.float32)


def plateaus(rng: np.random.Generator, shape: tuple[int, int, int]) -> Heatmap:
    coarse = np.round(rng.random((shape[0], shape[1] // 17 + 1, shape[2] // 17 + 1)), 1)
    return np.repeat(np.repeat(coarse, 17, 1), 17, 2)[:, : shape[1], : shape[2]].astype(np.float32)


@settings(max_examples=150)
@given(
    width=st.integers(1, 230),
    height=st.integers(1, 230),
    core=st.sampled_from([32, 64]),
    side=st.integers(1, 3),
    reach=st.integers(1, 16),
    channels=st.integers(1, 2),
    draw=st.sampled_from([noise, heavy_ties, sparse_equal_cells, plateaus]),
    floor=st.sampled_from([0.06, 0.25, 0.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_regions_and_seams_give_the_peaks_of_the_whole_map_bit_for_bit(
    width: int,
    height: int,
    core: int,
    side: int,
    reach: int,
    channels: int,
    draw: Draw,
    floor: float,
    seed: int,
) -> None:
    rng, window = np.random.default_rng(seed), 2 * reach + 1
    heatmap = draw(rng, (channels, height, width))
    grid = RegionGrid(TileLattice(width, height, core, 32), side)
    empty = {index for index in range(len(grid)) if rng.random() < 0.25}
    for index in empty:
        box = grid.region(index).box
        heatmap[:, box.y0 : box.y1, box.x0 : box.x1] = 0
    whole = find_peaks(heatmap, window=window, floor=floor)
    pieces = cut(heatmap, grid, window=window, floor=floor, empty=empty)
    assert rows(pieces) == rows(whole)
    assert rows(merge_ties(pieces)) == rows(merge_ties(whole))


@pytest.mark.parametrize("extra", range(1, 12))
def test_a_last_region_narrower_than_the_reach_is_settled_by_its_seam(extra: int) -> None:
    rng = np.random.default_rng(extra)
    heatmap = noise(rng, (2, 64 + extra, 128 + extra))
    grid = RegionGrid(TileLattice(128 + extra, 64 + extra, 64, 32), 1)
    pieces = cut(heatmap, grid, window=21, floor=0.06, empty=set())
    assert rows(pieces) == rows(find_peaks(heatmap, window=21, floor=0.06))


@pytest.mark.parametrize("shift", range(-11, 12))
@pytest.mark.parametrize("across", ["column", "row", "corner"])
def test_two_cells_of_two_classes_across_a_seam_give_what_one_tile_gives(
    shift: int, across: str
) -> None:
    # a strong positive cell on one side, a weaker negative one 8 px away on the other
    heatmap = np.zeros((2, 128, 128), np.float32)
    place = {"column": (30, 64 + shift), "row": (64 + shift, 30), "corner": (64 + shift,) * 2}[
        across
    ]
    step = {"column": (0, 8), "row": (8, 0), "corner": (8, 8)}[across]
    heatmap[0, place[0], place[1]] = 0.9
    heatmap[1, place[0] + step[0], place[1] + step[1]] = 0.8
    grid = RegionGrid(TileLattice(128, 128, 64, 32), 1)
    pieces = merge_ties(cut(heatmap, grid, window=21, floor=0.06, empty=set()))
    assert len(pieces) == 1
    assert list(pieces.label) == [1]
    assert rows(pieces) == rows(localize(heatmap, window=21, threshold=0.06))


def test_a_plateau_across_a_corner_of_four_regions_is_one_cell() -> None:
    heatmap = np.zeros((2, 128, 128), np.float32)
    heatmap[0, 62:67, 61:66] = 0.7
    grid = RegionGrid(TileLattice(128, 128, 64, 32), 1)
    cells = merge_ties(cut(heatmap, grid, window=21, floor=0.06, empty=set()))
    assert (len(cells), cells.x_px[0], cells.y_px[0]) == (1, 63.5, 64.5)


def test_the_size_of_regions_and_their_order_change_no_cell() -> None:
    heatmap = heavy_ties(np.random.default_rng(5), (2, 300, 290))
    lattice = TileLattice(290, 300, 32, 32)
    cells = [
        rows(merge_ties(cut(heatmap, RegionGrid(lattice, side), window=13, floor=0.3, empty=set())))
        for side in (1, 2, 3, 5, 10)
    ]
    assert all(one == cells[0] for one in cells)


def test_every_cell_of_a_cut_map_matches_one_of_the_whole_map() -> None:
    heatmap = noise(np.random.default_rng(6), (2, 256, 256))
    grid = RegionGrid(TileLattice(256, 256, 64, 32), 1)
    whole = localize(heatmap, window=21, threshold=0.3)
    pieces = merge_ties(cut(heatmap, grid, window=21, floor=0.3, empty=set()))
    pairs = match(
        np.column_stack([pieces.x_px, pieces.y_px]), np.column_stack([whole.x_px, whole.y_px]), 1e-9
    )
    assert len(pairs) == len(whole) == len(pieces)
    assert np.array_equal(pieces.label[pairs[:, 0]], whole.label[pairs[:, 1]])


def test_without_seams_cells_at_borders_would_be_lost_or_doubled() -> None:
    # the reason for this module: each region alone, all its peaks kept, is another set of cells
    heatmap = noise(np.random.default_rng(7), (2, 128, 128))
    grid = RegionGrid(TileLattice(128, 128, 64, 32), 1)
    alone = sum(
        len(localize(heatmap[:, b.y0 : b.y1, b.x0 : b.x1], window=21, threshold=0.06))
        for b in (region.box for region in grid)
    )
    assert alone > len(localize(heatmap, window=21, threshold=0.06))


def test_a_plane_of_one_region_has_no_seams() -> None:
    grid = RegionGrid(TileLattice(50, 40, 64, 32), 1)
    heatmap = noise(np.random.default_rng(8), (2, 40, 50))
    pieces = cut(heatmap, grid, window=21, floor=0.06, empty=set())
    assert rows(pieces) == rows(find_peaks(heatmap, window=21, floor=0.06))


def test_a_slide_where_nothing_was_predicted_has_no_cells() -> None:
    grid = RegionGrid(TileLattice(300, 300, 64, 32), 2)
    assert len(settle_seams(grid, Peaks.empty(), nothing_predicted, window=21)) == 0


def test_strips_are_copies_of_the_outermost_rows_and_columns_of_the_higher_channel() -> None:
    heatmap = noise(np.random.default_rng(9), (2, 50, 60))
    higher = heatmap.max(axis=0)
    strips = border_strips(heatmap, window=7)
    assert np.array_equal(strips.rows, [higher[:3], higher[-3:]])
    assert np.array_equal(strips.cols, [higher[:, :3], higher[:, -3:]])
    one_channel = border_strips(heatmap[:1], window=7)
    assert not np.shares_memory(one_channel.rows, heatmap)


def test_each_strip_is_asked_for_once() -> None:
    heatmap = noise(np.random.default_rng(10), (2, 90, 120))
    asked: list[tuple[str, int, int]] = []

    @dataclass
    class Asked:
        strips: BorderStrips
        place: tuple[int, int]

        @property
        def rows(self) -> Heatmap:
            asked.append(("rows", *self.place))
            return self.strips.rows

        @property
        def cols(self) -> Heatmap:
            asked.append(("cols", *self.place))
            return self.strips.cols

    grid = RegionGrid(TileLattice(120, 90, 32, 32), 1)

    def strips_of(row: int, col: int) -> Asked:
        box = grid.region(row * grid.cols + col).box
        part = heatmap[:, box.y0 : box.y1, box.x0 : box.x1]
        return Asked(border_strips(part, window=11), (row, col))

    settle_seams(grid, Peaks.empty(), strips_of, window=11)
    assert len(asked) == len(set(asked)) == 2 * len(grid)


def test_regions_too_small_for_the_window_are_refused_with_both_sizes() -> None:
    grid = RegionGrid(TileLattice(100, 100, 32, 32), 1)
    with pytest.raises(ValueError, match="regions of 32 px are narrower than window - 1 = 34"):
        settle_seams(grid, Peaks.empty(), nothing_predicted, window=35)
