"""Laws of resampling: one phase for the whole slide, constants kept, centroids kept."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core.resampling import axis_taps, choose_level, resample

SCALES = st.one_of(
    st.sampled_from([0.5, 0.98, 1.0, 1.25, 1.6, 2.0, 2.0005, 3.0, 4.0, 7.3]),
    st.floats(0.3, 9.0, allow_nan=False),
)
ORIGINS = st.one_of(st.integers(0, 50).map(float), st.floats(0.0, 50.0, allow_nan=False))


def made(
    plane: NDArray[np.uint8], x: tuple[int, int], y: tuple[int, int], origin: float, scale: float
) -> NDArray[np.uint8]:
    """Output pixels [x0, x1) x [y0, y1) from a plane of source pixels, white outside it."""
    taps_x = axis_taps(x[0], x[1] - x[0], origin=origin, scale=scale)
    taps_y = axis_taps(y[0], y[1] - y[0], origin=origin, scale=scale)
    source = np.full((taps_y.count, taps_x.count, 3), 255, np.uint8)
    y0, x0 = max(taps_y.first, 0), max(taps_x.first, 0)
    part = plane[y0 : taps_y.first + taps_y.count, x0 : taps_x.first + taps_x.count]
    source[
        y0 - taps_y.first : y0 - taps_y.first + part.shape[0],
        x0 - taps_x.first : x0 - taps_x.first + part.shape[1],
    ] = part
    return resample(source, taps_y, taps_x)


@settings(max_examples=60, deadline=None)
@given(
    scale=SCALES,
    origin=ORIGINS,
    cut=st.integers(0, 19),
    size=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_overlapping_requests_agree_bit_for_bit(
    scale: float, origin: float, cut: int, size: int, seed: int
) -> None:
    side = int(50 + 42 * scale) + 3
    plane = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    whole = made(plane, (0, 40), (0, 40), origin, scale)
    part = made(plane, (cut, cut + size), (40 - size, 40), origin, scale)
    assert np.array_equal(whole[40 - size :, cut : cut + size], part)


@settings(max_examples=60, deadline=None)
@given(scale=SCALES, origin=ORIGINS, value=st.integers(0, 255), start=st.integers(0, 200_000))
def test_a_constant_stays_constant(scale: float, origin: float, value: int, start: int) -> None:
    taps = axis_taps(start, 17, origin=origin, scale=scale)
    source = np.full((taps.count, taps.count, 3), value, np.uint8)
    assert (resample(source, taps, taps) == value).all()


@settings(max_examples=60, deadline=None)
@given(scale=SCALES, origin=ORIGINS, start=st.integers(0, 200_000), length=st.integers(1, 30))
def test_weights_are_shares_of_the_pixels_that_must_be_read(
    scale: float, origin: float, start: int, length: int
) -> None:
    taps = axis_taps(start, length, origin=origin, scale=scale)
    assert (taps.weight >= 0).all()
    assert np.allclose(taps.weight.sum(axis=1), 1.0, atol=1e-6)
    assert taps.index.min() == 0
    assert taps.index.max() == taps.count - 1
    if scale >= 1:
        assert taps.first >= np.floor(origin + start * scale - 1e-5)
        assert taps.first + taps.count <= np.ceil(origin + (start + length) * scale + 1e-5)


@settings(max_examples=60, deadline=None)
@given(scale=st.floats(0.3, 9.0), origin=ORIGINS, start=st.integers(0, 1000))
def test_taps_are_centred_on_the_interval_an_output_pixel_covers(
    scale: float, origin: float, start: int
) -> None:
    # the mean position of the taps is the value a linear ramp would get: half-pixel convention
    taps = axis_taps(start, 9, origin=origin, scale=scale)
    centres = (taps.weight * (taps.first + taps.index + 0.5)).sum(axis=1)
    wanted = origin + (start + np.arange(9) + 0.5) * scale
    if scale >= 1 / 1.02:
        # fractional border pixels count with their own centre: at most an eighth of a pixel off
        assert np.abs(centres - wanted).max() <= 0.125 / min(scale, 1.0) + 1e-3
    else:
        assert np.abs(centres - wanted).max() < 1e-3


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.0])
def test_a_linear_ramp_keeps_its_value_at_each_continuous_coordinate(scale: float) -> None:
    plane = np.repeat(np.arange(120, dtype=np.uint8)[None, :, None] * 2, 120, axis=0)
    plane = np.repeat(plane, 3, axis=2)
    out = made(plane, (2, 30), (2, 30), 0.0, scale).astype(float)[0, :, 0]
    ramp = 2.0 * ((np.arange(2, 30) + 0.5) * scale - 0.5)
    assert np.abs(out - ramp).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.6, 2.0, 2.0005, 3.7, 4.0])
@pytest.mark.parametrize("origin", [0.0, 0.37])
def test_the_centroid_of_a_dot_maps_onto_the_same_place(scale: float, origin: float) -> None:
    side = 160
    y, x = np.mgrid[0:side, 0:side] + 0.5
    centre_x, centre_y = 71.3, 64.8
    dot = 200 * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * 9.0**2))
    plane = np.repeat(np.round(255 - dot).astype(np.uint8)[:, :, None], 3, axis=2)
    size = int((side - 1) / scale)
    out = 255.0 - made(plane, (0, size), (0, size), origin, scale)[:, :, 0]
    rows, cols = np.mgrid[0:size, 0:size] + 0.5
    assert abs((out * cols).sum() / out.sum() * scale + origin - centre_x) < 0.05
    assert abs((out * rows).sum() / out.sum() * scale + origin - centre_y) < 0.05


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_whole_factors_give_the_rounded_mean_of_each_block(factor: int) -> None:
    plane = np.random.default_rng(1).integers(0, 256, (24 * factor, 24 * factor, 3), dtype=np.uint8)
    out = made(plane, (0, 24), (0, 24), 0.0, float(factor))
    total = plane.reshape(24, factor, 24, factor, 3).sum(axis=(1, 3), dtype=np.int64)
    assert np.array_equal(out, (2 * total + factor**2) // (2 * factor**2))
    assert abs(out.mean() - plane.mean()) < 0.5


@pytest.mark.parametrize("factor", [2, 3, 4, 6, 16])
def test_the_general_way_equals_the_integer_way(factor: int) -> None:
    size = 12
    taps = axis_taps(0, size, origin=0.0, scale=float(factor))
    slow = axis_taps(0, size, origin=1e-9, scale=float(factor))  # snapped, yet no whole origin
    assert taps.factor == factor
    assert slow.factor == 0
    plane = np.random.default_rng(2).integers(0, 256, (taps.count, taps.count, 3), dtype=np.uint8)
    assert np.array_equal(resample(plane, taps, taps), resample(plane, slow, slow))


def test_scale_one_copies_the_pixels() -> None:
    plane = np.random.default_rng(3).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    assert np.array_equal(made(plane, (5, 25), (5, 25), 0.0, 1.0), plane[5:25, 5:25])


def test_white_outside_the_slide_stays_white_and_never_darkens() -> None:
    plane = np.full((50, 50, 3), 255, np.uint8)
    for scale in (0.5, 1.01, 1.6, 2.0005, 5.3):
        assert (made(plane, (-3, 20), (-3, 20), 0.0, scale) == 255).all()


def test_one_row_and_one_column_can_be_asked_for() -> None:
    plane = np.random.default_rng(4).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = made(plane, (0, 20), (0, 20), 0.0, 1.9)
    assert np.array_equal(made(plane, (7, 8), (0, 20), 0.0, 1.9), whole[:, 7:8])
    assert np.array_equal(made(plane, (0, 20), (9, 10), 0.0, 1.9), whole[9:10])


@pytest.mark.parametrize(("length", "scale"), [(0, 2.0), (-1, 2.0), (3, 0.0), (3, float("nan"))])
def test_empty_requests_and_bad_scales_are_refused_with_the_value(
    length: int, scale: float
) -> None:
    with pytest.raises(ValueError, match=f"length={length} and scale={scale}"):
        axis_taps(0, length, origin=0.0, scale=scale)


def test_a_source_of_another_shape_is_refused_with_both_shapes() -> None:
    taps = axis_taps(0, 4, origin=0.0, scale=2.0)
    with pytest.raises(ValueError, match=r"\(7, 8, 3\).*\(8, 8, 3\)"):
        resample(np.zeros((7, 8, 3), np.uint8), taps, taps)


@pytest.mark.parametrize(
    ("scale", "level"), [(0.5, 0), (1.0, 0), (1.9, 0), (2.0, 1), (3.9, 1), (4.0, 2), (70.0, 3)]
)
def test_the_coarsest_level_that_is_fine_enough_is_chosen(scale: float, level: int) -> None:
    scales = [(1.0, 1.0), (2.0005, 2.0003), (4.001, 4.0), (16.0, 16.0)]
    assert choose_level(scales, scale, scale) == level


def test_a_level_must_be_fine_enough_in_both_axes() -> None:
    assert choose_level([(1.0, 1.0), (2.0, 2.2)], 2.0, 2.0) == 0


def test_a_region_is_resampled_in_well_under_a_second_a_core() -> None:
    taps = axis_taps(0, 1152, origin=0.3, scale=2.0005)
    source = np.random.default_rng(5).integers(0, 256, (taps.count, taps.count, 3), dtype=np.uint8)
    begin = time.perf_counter()
    resample(source, taps, taps)
    # a quarter of the 4608 px region that must take under 1.2 s; the margin is for a busy machine
    assert time.perf_counter() - begin < 1.2
