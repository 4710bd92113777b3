"""Peaks by blocks are the peaks of the whole map filtered, and block maxima are what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.blocks import block_maxima, window_maxima, window_minima
from pipeline.core.ccls import find_peaks

Heatmap = NDArray[np.float32]


def plain_peaks(heatmap: Heatmap, window: int, floor: float) -> NDArray[np.intp]:
    """The definition: equal to the maximum over both channels within the window."""
    union = heatmap.max(axis=0)
    highest = ndimage.maximum_filter(union, size=window, mode="constant", cval=-np.inf)
    return np.argwhere((union == highest) & (union >= floor))


def found(heatmap: Heatmap, window: int, floor: float) -> NDArray[np.intp]:
    peaks = find_peaks(heatmap, window=window, floor=floor)
    assert np.array_equal(peaks.score, heatmap.max(axis=0)[peaks.row, peaks.col])
    return np.column_stack([peaks.row, peaks.col]).astype(np.intp)


@settings(max_examples=150, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), st.integers(1, 60), st.integers(1, 60)),
        elements=st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.30000001, 1.0]),
    ),
    st.sampled_from([3, 5, 7, 9, 13, 21, 25]),
)
def test_peaks_by_blocks_are_those_of_the_definition(heatmap: Heatmap, window: int) -> None:
    assert np.array_equal(found(heatmap, window, 0.1), plain_peaks(heatmap, window, 0.1))


@pytest.mark.parametrize("sigma", [0.0, 1.0, 4.0, 9.0])
@pytest.mark.parametrize("window", [7, 13, 25])
def test_noise_smooth_maps_and_clipped_ones_give_the_same_peaks(sigma: float, window: int) -> None:
    rng = np.random.default_rng(int(10 * sigma) + window)
    noise = rng.standard_normal((2, 301, 277))
    heatmap = np.stack([ndimage.gaussian_filter(part, sigma) for part in noise])
    heatmap = (heatmap / heatmap.std()).astype(np.float32)
    for values in (heatmap, np.clip(heatmap, 0, 1), np.round(heatmap, 1)):
        assert np.array_equal(found(values, window, 0.5), plain_peaks(values, window, 0.5))


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 20)),
        elements=st.floats(-2, 2, width=32),
    ),
    st.integers(1, 7),
)
def test_a_block_s_maximum_is_that_of_its_pixels(values: Heatmap, side: int) -> None:
    made = block_maxima(values, side)
    for row in range(made.shape[1]):
        for col in range(made.shape[2]):
            part = values[:, row * side : (row + 1) * side, col * side : (col + 1) * side]
            assert np.array_equal(made[:, row, col], part.max(axis=(1, 2)))
    assert made.shape[1:] == (-(-values.shape[1] // side), -(-values.shape[2] // side))


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.floats(-2, 2, width=32),
    ),
    st.integers(0, 15),
)
def test_a_window_s_extrema_are_those_of_its_pixels(plane: Heatmap, reach: int) -> None:
    side = 2 * reach + 1
    highest = ndimage.maximum_filter(plane, side, mode="constant", cval=-np.inf)
    lowest = ndimage.minimum_filter(plane, side, mode="constant", cval=np.inf)
    assert np.array_equal(window_maxima(plane, side), highest)
    assert np.array_equal(window_minima(plane, side), lowest)
    mask = plane > 0
    assert np.array_equal(window_maxima(mask, side), highest > 0)
    assert np.array_equal(window_minima(mask, side), lowest > 0)
