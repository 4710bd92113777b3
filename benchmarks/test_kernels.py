"""Time of the pure kernels on inputs of the size a region or a slide brings."""

import numpy as np
import pytest
from numpy.typing import NDArray
from planted import planted_peaks, regions_alike
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import ndimage

from pipeline.core.ccls import Peaks, find_peaks, merge_ties
from pipeline.core.maps import edt_map
from pipeline.core.matching import match
from pipeline.core.resampling import axis_taps, resample
from pipeline.core.seams import BorderStrips, border_strips, settle_seams
from pipeline.core.tiling import RegionGrid, TileLattice

WINDOW = 21
FLOOR = 0.1
MAP_SIDE_PX = 2048
"""Side of one region's map: 4 x 4 tiles of 512 pixels."""


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def heatmap(rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth hills of about a cell's width, ``(2, 2048, 2048)`` float32 in [0, 1]."""
    noise = rng.random((2, MAP_SIDE_PX, MAP_SIDE_PX), dtype=np.float32)
    smooth = np.stack([ndimage.gaussian_filter(channel, 4.0) for channel in noise])
    low, high = smooth.min(), smooth.max()
    return np.asarray((smooth - low) / (high - low), np.float32)


def test_find_peaks(benchmark: BenchmarkFixture, heatmap: NDArray[np.float32]) -> None:
    peaks = benchmark(find_peaks, heatmap, window=WINDOW, floor=FLOOR)
    assert len(peaks) > 1000


def test_settle_seams(benchmark: BenchmarkFixture, heatmap: NDArray[np.float32]) -> None:
    """A 4 x 4 grid of regions, each carrying the same map."""
    grid = RegionGrid(TileLattice(4 * MAP_SIDE_PX, 4 * MAP_SIDE_PX, core=512, halo=64), 4)
    strips = border_strips(heatmap, window=WINDOW)
    undecided = [some for _, some in regions_alike(grid, heatmap, window=WINDOW, floor=FLOOR)]

    def strips_of(_row: int, _col: int) -> BorderStrips:
        return strips

    peaks = benchmark(settle_seams, grid, Peaks.concatenate(undecided), strips_of, window=WINDOW)
    assert len(peaks) > 100


def test_merge_ties_of_a_million_peaks(benchmark: BenchmarkFixture) -> None:
    peaks = planted_peaks(1_000_000)
    merged = benchmark(merge_ties, peaks)
    assert 0 < len(merged) < len(peaks)


def test_edt_map(benchmark: BenchmarkFixture, rng: np.random.Generator) -> None:
    """One 1228-pixel field with 500 cells."""
    x_px, y_px = rng.uniform(0, 1228, (2, 500))
    made = benchmark(edt_map, x_px, y_px, (1228, 1228), max_dt_px=118.0)
    assert made.max() == 1.0


def test_match_ten_thousand(benchmark: BenchmarkFixture, rng: np.random.Generator) -> None:
    true = rng.uniform(0, 4000, (10_000, 2))
    found = true + rng.normal(0, 4.0, true.shape)
    pairs = benchmark(match, found, true, 12.0)
    assert len(pairs) > 9000


@pytest.mark.parametrize("scale", [1.25, 2.0])
def test_resample_a_tile(
    benchmark: BenchmarkFixture, rng: np.random.Generator, scale: float
) -> None:
    """One 640-pixel tile (core 512, halo 64) from the level's pixels."""
    taps = axis_taps(0, 640, origin=0.0, scale=scale)
    source = rng.integers(0, 256, (taps.count, taps.count, 3), dtype=np.uint8)
    made = benchmark(resample, source, taps, taps)
    assert made.shape == (640, 640, 3)
