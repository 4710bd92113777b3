"""A stuck network is told from one that finds no cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.soundness import all_finite, fault_of

rng = np.random.default_rng(3)
TISSUE = rng.integers(40, 240, (64, 64, 3)).astype(np.uint8)
GLASS = np.full((64, 64, 3), 243, np.uint8)


def flat(value: float) -> np.ndarray:
    return np.full((2, 64, 64), value, np.float32)


def test_zero_everywhere_means_no_cells() -> None:
    assert fault_of(flat(0.0), TISSUE, floor=0.1) == ""


@given(st.floats(0.125, 1.0, width=32))
def test_a_saturated_output_is_a_fault_whatever_was_seen(value: float) -> None:
    for pixels in (TISSUE, GLASS):
        assert "saturated" in fault_of(flat(value), pixels, floor=0.1)


def test_half_a_tile_at_the_top_is_saturated_too() -> None:
    heatmap = flat(0.0)
    heatmap[1, :40] = 1.0
    assert "saturated at 1" in fault_of(heatmap, TISSUE, floor=0.1)


@pytest.mark.parametrize("period", [2, 3, 4, 6, 8, 16, 32])
def test_no_pattern_of_a_network_s_strides_hides_that_it_is_saturated(period: int) -> None:
    row, col = np.indices((64, 64))
    for stuck in (row % period < period // 2 + 1, (row + col) % period < period // 2 + 1):
        assert stuck.mean() > 0.5
        heatmap = flat(0.0)
        heatmap[0, stuck] = 1.0
        assert "saturated at 1" in fault_of(heatmap, TISSUE, floor=0.1)


def test_one_small_value_fits_glass_but_not_tissue() -> None:
    assert fault_of(flat(0.01), GLASS, floor=0.1) == ""
    assert "whatever it sees" in fault_of(flat(0.01), TISSUE, floor=0.1)


@given(st.integers(0, 2**32 - 1))
def test_peaks_on_noise_are_an_answer(seed: int) -> None:
    heatmap = np.random.default_rng(seed).random((2, 64, 64)).astype(np.float32)
    assert fault_of(heatmap, TISSUE, floor=0.1) == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_found_wherever_it_is(bad: float) -> None:
    rng = np.random.default_rng(3)
    heatmap = rng.random((2, 70, 50), np.float32)
    for place in [(0, 0, 0), (1, 69, 49), (0, 33, 49), (1, 0, 7)]:
        wrong = heatmap.copy()
        wrong[place] = bad
        assert not all_finite(wrong)
        assert not all_finite(wrong[:, :, ::-1])
    both = heatmap.copy()
    both[0, :2, 5] = np.inf, -np.inf
    assert not all_finite(both)


def test_values_as_large_as_can_be_are_numbers() -> None:
    assert all_finite(np.full((2, 70, 50), np.finfo(np.float32).max, np.float32))
    assert all_finite(np.zeros((2, 0, 5), np.float32))


def test_of_a_sliver_at_the_end_of_a_plane_nothing_is_said() -> None:
    brown = np.full((1, 1, 3), (120, 80, 50), np.uint8)
    assert fault_of(np.full((2, 1, 1), 0.006, np.float32), brown, floor=0.05) == ""
    assert fault_of(np.full((2, 1, 900), 0.6, np.float32), brown, floor=0.05) == ""
