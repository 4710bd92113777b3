"""Fields refuse impossible points and move points with pixels when resampled."""

import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.train.fields import Field, area_cut

WHITE_SQUARE = np.full((40, 60, 3), 255, np.uint8)


def make_field(points: list[tuple[float, float]], labels: list[int]) -> Field:
    xy = np.array(points, np.float64).reshape(-1, 2)
    label = np.array(labels, np.uint8)
    return Field("a", "g", WHITE_SQUARE, xy[:, 0], xy[:, 1], label, 0.25)


def test_a_point_outside_the_image_is_one_clear_line() -> None:
    with pytest.raises(AnnotationError, match=r"a: point 2 at \(60, 3\) is outside .* 60 x 40"):
        make_field([(59.9, 3), (60, 3)], [1, 1])


def test_a_point_that_is_no_number_is_one_clear_line() -> None:
    with pytest.raises(AnnotationError, match="a: point 1 has a coordinate that is no number"):
        make_field([(float("nan"), 3)], [1])


def test_an_unknown_label_is_one_clear_line() -> None:
    with pytest.raises(AnnotationError, match="a: point 1 has label 7"):
        make_field([(3, 3)], [7])


def test_a_grey_image_is_refused() -> None:
    empty = np.empty(0)
    with pytest.raises(AnnotationError, match="RGB"):
        Field("a", "g", WHITE_SQUARE[..., 0], empty, empty, np.empty(0, np.uint8), 0.25)


@pytest.mark.parametrize("mpp_um", [0.5, 0.375, 0.4321, 0.75])
def test_a_dark_block_stays_under_its_point_when_resampled(mpp_um: float) -> None:
    image = WHITE_SQUARE.copy()
    image[18:24, 30:36] = 0
    field = Field("a", "g", image, np.array([33.0]), np.array([21.0]), np.ones(1, np.uint8), 0.25)

    scaled = field.resampled(mpp_um)

    darkness = 255.0 - scaled.image.mean(axis=2)
    rows, cols = np.indices(darkness.shape) + 0.5
    assert scaled.x_px[0] == pytest.approx((cols * darkness).sum() / darkness.sum(), abs=0.05)
    assert scaled.y_px[0] == pytest.approx((rows * darkness).sum() / darkness.sum(), abs=0.05)


def test_the_own_resolution_changes_nothing() -> None:
    field = make_field([(3, 3)], [1])

    assert field.resampled(0.25) is field


def test_a_cut_beyond_the_image_is_white_there_and_the_mean_inside() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = 200

    cut = area_cut(image, -2.0, 0.0, 2.0, width=4, height=2)

    assert cut[0, :, 0].tolist() == [255, 0, 200, 255]


def test_a_cut_at_half_a_pixel_mixes_the_neighbours_half_and_half() -> None:
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, 1] = 100

    cut = area_cut(image, 0.5, 0.0, 1.0, width=2, height=1)

    assert cut[0, :, 0].tolist() == [50, 50]
