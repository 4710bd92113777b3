"""Bins lie in one tile each, and a slide's measures are those of its tiles side by side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.frame import PlaneFrame
from pipeline.core.qc.bins import MEASURES, BinLayout
from pipeline.core.qc.measures import measure_tile, reduced, reduction


@given(width=st.integers(1, 700), height=st.integers(1, 700), side=st.sampled_from([16, 48, 128]))
def test_spreading_and_sharing_are_each_others_inverse(width: int, height: int, side: int) -> None:
    layout = BinLayout(PlaneFrame(5, 7, 2.0, 2.0, width, height), side)
    over = PlaneFrame(5, 7, 16.0, 16.0, -(-width // 8), -(-height // 8))
    bins = np.arange(layout.rows * layout.cols).reshape(layout.rows, layout.cols) % 3 == 0
    share = layout.share(layout.spread(bins, over), over)
    row, col = layout.under(over)
    seen = np.zeros_like(bins)
    seen[np.ix_(row, col)] = True
    assert np.array_equal(share[seen], bins[seen].astype(np.float32))


def test_points_are_counted_in_the_bin_they_lie_in() -> None:
    layout = BinLayout(PlaneFrame(100, 0, 2.0, 2.0, 64, 64), 32)
    counted = layout.counted(np.array([100.0, 163.9, 164.0, 1e6]), np.array([0.0, 0.0, 70.0, 1e6]))
    assert counted.tolist() == [[2, 0], [0, 2]]


def stained(seed: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(90, 245, (side, side, 3), dtype=np.uint8)


def test_a_tile_has_every_measure_of_every_bin_and_all_are_finite() -> None:
    values = measure_tile(stained(1, 256), bin_px=64, mpp_um=0.5)
    assert values.shape == (len(MEASURES), 4, 4)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_plain_pixels_are_measured_too(grey: int) -> None:
    assert np.isfinite(
        measure_tile(np.full((64, 64, 3), grey, np.uint8), bin_px=32, mpp_um=1)
    ).all()


def test_a_tile_of_broken_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="whole bins of 48 px"):
        measure_tile(stained(1, 64), bin_px=48, mpp_um=0.5)


@pytest.mark.parametrize(("mpp", "step"), [(0.25, 4), (0.5, 2), (0.55, 2), (1.0, 1), (2.0, 1)])
def test_colours_are_measured_at_about_one_micrometre(mpp: float, step: int) -> None:
    assert reduction(mpp) == step


def test_reduced_pixels_are_means_rounded_half_up() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0] = 1
    assert reduced(pixels, 2).tolist() == [[[1, 1, 1]]]
