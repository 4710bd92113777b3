"""The rule that makes cells of a heatmap: windows, ties, thresholds, labels, sub-pixel places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.ccls import Peaks, find_peaks, localize, merge_ties
from pipeline.core.localizing import window_side
from pipeline.core.maps import edt_map

Heatmap = NDArray[np.float32]


def at(*places: tuple[int, int, float], size: int = 64) -> Heatmap:
    """A one-channel map of zeros with values at (row, col)."""
    heatmap = np.zeros((1, size, size), np.float32)
    for row, col, value in places:
        heatmap[0, row, col] = value
    return heatmap


def blobs(points: list[tuple[float, float]], heights: list[float], size: int = 512) -> Heatmap:
    """Round cells of radius about 5 px and given heights."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    heatmap = np.zeros((size, size))
    for (px, py), height in zip(points, heights, strict=True):
        np.maximum(heatmap, height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18), out=heatmap)
    return heatmap.astype(np.float32)[None]


@pytest.mark.parametrize("seed", range(5))
def test_two_11_pools_in_sequence_are_one_21_pool(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmap = np.round(rng.random((90, 70)), rng.integers(1, 8)).astype(np.float32)

    def pooled(values: Heatmap, side: int) -> Heatmap:
        return np.asarray(
            ndimage.maximum_filter(values, size=side, mode="constant", cval=-np.inf), np.float32
        )

    twice = pooled(pooled(heatmap, 11), 11)
    assert np.array_equal(twice, pooled(heatmap, 21))
    peaks = find_peaks(heatmap[None], window=21, floor=0.06)
    expected = np.argwhere((twice == heatmap) & (heatmap >= 0.06))
    assert np.array_equal(np.column_stack([peaks.row, peaks.col]), expected)


def test_the_window_of_the_paper_is_21_px_in_its_frame() -> None:
    assert window_side(3.1, 0.3125) == 21
    assert window_side(3.1, 0.25) == 25
    assert window_side(3.1, 0.5) == 13


@given(st.floats(0.5, 20), st.floats(0.08, 0.9))
def test_windows_are_odd_and_at_least_3(radius_um: float, mpp_um: float) -> None:
    side = window_side(radius_um, mpp_um)
    assert side % 2 == 1
    assert side >= 3
    assert abs((side - 1) / 2 - radius_um / mpp_um) <= 0.5


def test_a_radius_under_half_a_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.2 um is under half a pixel of 0\.5 um"):
        window_side(0.2, 0.5)


def test_one_blob_is_one_cell_at_its_sub_pixel_centre() -> None:
    cells = localize(blobs([(30.3, 41.8)], [0.9], 64), window=21, threshold=0.06)
    assert len(cells) == 1
    assert cells.x_px[0] == pytest.approx(30.3, abs=0.1)
    assert cells.y_px[0] == pytest.approx(41.8, abs=0.1)
    assert cells.score[0] == pytest.approx(0.9, abs=0.02)


def test_two_adjacent_equal_pixels_are_one_cell_between_them() -> None:
    cells = localize(at((20, 30, 0.8), (20, 31, 0.8)), window=21, threshold=0.06)
    assert (cells.x_px[0], cells.y_px[0], len(cells)) == (31.0, 20.5, 1)


def test_a_2_by_2_plateau_is_one_cell_at_its_middle() -> None:
    places = [(row, col, 0.8) for row in (20, 21) for col in (30, 31)]
    cells = localize(at(*places), window=21, threshold=0.06)
    assert (cells.x_px[0], cells.y_px[0], len(cells)) == (31.0, 21.0, 1)


def test_diagonal_ties_are_one_cell() -> None:
    assert len(localize(at((20, 30, 0.8), (21, 31, 0.8)), window=21, threshold=0.06)) == 1


def test_equal_cells_apart_are_two_cells_even_within_one_window() -> None:
    assert len(localize(at((20, 30, 0.8), (20, 35, 0.8)), window=21, threshold=0.06)) == 2


def test_a_constant_map_is_one_cell_not_thousands() -> None:
    cells = localize(np.full((2, 60, 80), 0.7, np.float32), window=21, threshold=0.06)
    assert (cells.x_px[0], cells.y_px[0], len(cells)) == (40.0, 30.0, 1)


def test_a_weaker_peak_within_the_window_is_suppressed_and_beyond_it_kept() -> None:
    near = localize(at((20, 20, 0.9), (30, 30, 0.5)), window=21, threshold=0.06)
    far = localize(at((20, 20, 0.9), (20, 31, 0.5)), window=21, threshold=0.06)
    assert len(near) == 1
    assert len(far) == 2


def test_a_noise_only_tile_has_no_cells() -> None:
    noise = np.random.default_rng(0).random((1, 512, 512)).astype(np.float32) * 0.015
    assert len(localize(noise, window=21, threshold=0.06)) == 0


def test_noise_above_the_papers_threshold_needs_a_tuned_one() -> None:
    noise = np.random.default_rng(0).random((1, 512, 512)).astype(np.float32) * 0.092
    assert 500 < len(localize(noise, window=21, threshold=0.06)) < 650
    assert len(localize(noise, window=21, threshold=0.3)) == 0


def test_pale_cells_do_not_vanish_beside_a_dark_one() -> None:
    pale = [(60.0 + 80 * i, 60.0 + 80 * j) for i in range(5) for j in range(5)]
    alone = localize(blobs(pale, [0.30] * 25), window=21, threshold=0.06)
    beside = localize(blobs([*pale, (20.0, 20.0)], [0.30] * 25 + [0.95]), window=21, threshold=0.06)
    assert len(alone) == 25
    assert len(beside) == 26


def test_the_threshold_is_inclusive() -> None:
    heatmap = at((20, 20, 0.5))
    assert len(localize(heatmap, window=5, threshold=0.5)) == 1
    assert len(localize(heatmap, window=5, threshold=0.50001)) == 0


def test_the_label_is_the_higher_channel() -> None:
    heatmap = np.zeros((2, 40, 40), np.float32)
    heatmap[0, 10, 10], heatmap[1, 10, 10] = 0.9, 0.4
    heatmap[0, 30, 30], heatmap[1, 30, 30] = 0.4, 0.9
    cells = localize(heatmap, window=5, threshold=0.1)
    assert list(cells.label) == [1, 0]


def test_the_channels_compete_for_one_place() -> None:
    heatmap = np.zeros((2, 40, 40), np.float32)
    heatmap[0, 10, 10], heatmap[1, 12, 12] = 0.8, 0.9
    cells = localize(heatmap, window=11, threshold=0.1)
    assert list(zip(cells.row, cells.col, cells.label, strict=True)) == [(12, 12, 0)]


def test_a_unified_map_labels_nothing_positive() -> None:
    assert not localize(at((10, 10, 0.9)), window=5, threshold=0.1).label.any()


def test_plane_coordinates_are_the_maps_own_shifted_by_its_place() -> None:
    heatmap = blobs([(30.3, 41.8)], [0.9], 64)
    here = find_peaks(heatmap, window=21, floor=0.06)
    there = find_peaks(heatmap, window=21, floor=0.06, x0=1000, y0=2000)
    assert (there.col[0] - here.col[0], there.row[0] - here.row[0]) == (1000, 2000)
    assert there.x_px[0] - here.x_px[0] == pytest.approx(1000)


@pytest.mark.parametrize(("row", "col"), [(0, 0), (0, 63), (63, 0), (63, 63), (0, 30)])
def test_cells_at_the_border_are_found(row: int, col: int) -> None:
    cells = localize(at((row, col, 0.9)), window=21, threshold=0.06)
    assert (cells.row[0], cells.col[0]) == (row, col)
    assert 0 <= cells.x_px[0] <= 64
    assert 0 <= cells.y_px[0] <= 64


@given(st.integers(0, 10_000), st.sampled_from([3, 5, 9, 21]))
def test_no_two_cells_of_distinct_height_share_a_window(seed: int, window: int) -> None:
    heatmap = np.random.default_rng(seed).random((1, 60, 50)).astype(np.float32)
    cells = localize(heatmap, window=window, threshold=0.2)
    apart = np.maximum(
        np.abs(cells.row[:, None] - cells.row), np.abs(cells.col[:, None] - cells.col)
    )
    np.fill_diagonal(apart, window)
    assert (apart > (window - 1) // 2).all()
    assert (np.abs(cells.x_px - cells.col - 0.5) <= 0.5).all()


@given(st.integers(0, 10_000))
def test_merging_does_not_depend_on_the_order_of_peaks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmap = (np.round(rng.random((2, 30, 40)) * 3) / 3).astype(np.float32)
    peaks = find_peaks(heatmap, window=3, floor=0.1)
    merged = merge_ties(peaks)
    shuffled = merge_ties(peaks.take(rng.permutation(len(peaks))))
    for name in ("x_px", "y_px", "col", "row", "score", "label"):
        assert np.array_equal(getattr(merged, name), getattr(shuffled, name))
    order = np.lexsort((merged.col, merged.row))
    assert np.array_equal(order, np.arange(len(merged)))


def test_merging_nothing_gives_nothing() -> None:
    assert len(merge_ties(Peaks.empty())) == 0
    assert len(Peaks.concatenate([])) == 0


def test_the_truths_own_map_gives_back_the_truth() -> None:
    rng = np.random.default_rng(3)
    grid = np.array([(x, y) for x in range(20, 500, 30) for y in range(20, 500, 30)], float)
    points = np.floor(grid + rng.uniform(-8, 8, grid.shape)) + 0.5
    heatmap = edt_map(points[:, 0], points[:, 1], (512, 512), max_dt_px=118.0)[None]
    cells = localize(heatmap, window=21, threshold=0.06)
    assert {(x, y) for x, y in points} == set(zip(cells.x_px, cells.y_px, strict=True))


@pytest.mark.parametrize(
    ("window", "floor", "message"),
    [
        (4, 0.1, "window=4"),
        (0, 0.1, "window=0"),
        (5, 0.0, "floor=0"),
        (5, float("nan"), "floor=nan"),
    ],
)
def test_even_windows_and_floors_that_let_glass_through_are_refused(
    window: int, floor: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_peaks(np.zeros((1, 8, 8), np.float32), window=window, floor=floor)
