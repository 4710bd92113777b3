"""The model frame: level-0 places and back, its size over the slide's bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.frame import PlaneFrame

MPP = st.floats(0.08, 2.0)
SIZE = st.integers(1, 300_000)


@given(st.integers(0, 90_000), st.integers(0, 90_000), SIZE, SIZE, MPP, MPP, MPP)
def test_a_frame_covers_its_rectangle_and_less_than_a_pixel_more(
    x: int, y: int, width: int, height: int, mpp_x: float, mpp_y: float, mpp_um: float
) -> None:
    frame = PlaneFrame.over(x, y, width, height, (mpp_x, mpp_y), mpp_um)
    for pixels, scale, size in (
        (frame.width, frame.scale_x, width),
        (frame.height, frame.scale_y, height),
    ):
        assert pixels * scale >= size - 2e-6 * scale
        assert (pixels - 1) * scale < size


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), min_size=1), MPP, MPP, MPP)
def test_places_survive_the_way_to_level_0_and_back(
    places: list[tuple[float, float]], mpp_x: float, mpp_y: float, mpp_um: float
) -> None:
    frame = PlaneFrame.over(1234, 567, 100_000, 90_000, (mpp_x, mpp_y), mpp_um)
    xy = np.array(places)
    x_px, y_px = frame.from_l0(*frame.to_l0(xy[:, 0], xy[:, 1]))
    assert np.allclose(x_px, xy[:, 0], atol=1e-6)
    assert np.allclose(y_px, xy[:, 1], atol=1e-6)


def test_the_corner_of_the_frame_is_the_corner_of_the_bounds() -> None:
    frame = PlaneFrame.over(100, 200, 1000, 800, (0.25, 0.25), 0.5)
    x_l0, y_l0 = frame.to_l0(np.array([0.0, 0.5]), np.array([0.0, 0.5]))
    assert (x_l0[0], y_l0[0]) == (100, 200)
    # the centre of the first model-frame pixel is the common corner of four level-0 pixels
    assert (x_l0[1], y_l0[1]) == (101, 201)


def test_unequal_resolutions_give_unequal_scales() -> None:
    frame = PlaneFrame.over(0, 0, 1000, 1000, (0.25, 0.5), 0.5)
    assert (frame.scale_x, frame.scale_y) == (2.0, 1.0)
    assert (frame.width, frame.height) == (500, 1000)


def test_a_rounding_error_adds_no_column_of_nothing() -> None:
    # 3000 * 0.3 / 0.1 is 9000.000000000002 in floating point
    assert PlaneFrame.over(0, 0, 3000, 3000, (0.3, 0.3), 0.1).width == 9000
    assert math.ceil(3000 / (0.1 / 0.3)) >= 9000


def test_the_smallest_slide_has_one_pixel() -> None:
    assert PlaneFrame.over(0, 0, 1, 1, (0.25, 0.25), 2.0).width == 1


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 5, 5), (1.0, -1.0, 5, 5), (1.0, 1.0, 0, 5)])
def test_frames_without_scale_or_size_are_refused(wrong: tuple[float, float, int, int]) -> None:
    with pytest.raises(ValueError, match="positive scales and sizes"):
        PlaneFrame(0, 0, *wrong)
