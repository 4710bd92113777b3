import time

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.frame import PlaneFrame
from pipeline.io.outline import exact_outline, mask_outline

Mask = NDArray[np.bool_]
masks = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(lambda size: arrays(bool, size))


def frame_of(mask: Mask, scale: float = 1.0) -> PlaneFrame:
    return PlaneFrame(0, 0, scale, scale, mask.shape[1], mask.shape[0])


def centres(mask: Mask) -> NDArray[np.object_]:
    y, x = np.mgrid[0.5 : mask.shape[0], 0.5 : mask.shape[1]]
    points: NDArray[np.object_] = shapely.points(x, y)
    return points


@given(masks)
def test_an_exact_outline_holds_the_centres_of_the_set_pixels_and_no_others(mask: Mask) -> None:
    outline = exact_outline(mask)
    assert shapely.is_valid(outline)
    assert outline.area == mask.sum()
    assert np.array_equal(shapely.contains(outline, centres(mask)), mask)


@given(masks)
def test_there_is_one_polygon_for_each_piece_joined_by_edges(mask: Mask) -> None:
    assert len(exact_outline(mask).geoms) == ndimage.label(mask)[1]


@given(masks, st.floats(0.1, 3))
def test_a_simplified_outline_is_valid_and_keeps_to_the_tolerance(
    mask: Mask, tolerance: float
) -> None:
    outline = mask_outline(mask, frame_of(mask), tolerance_px=tolerance)
    exact = exact_outline(mask)
    assert shapely.is_valid(outline)
    assert outline.is_empty == (not mask.any())
    assert {part.geom_type for part in outline.geoms} <= {"Polygon"}
    if mask.any():
        assert outline.boundary.hausdorff_distance(exact.boundary) <= max(mask.shape)
        assert outline.within(exact.buffer(tolerance + 1e-9))


def test_nested_tissue_keeps_its_holes() -> None:
    mask = np.zeros((20, 20), bool)
    for margin, value in ((0, True), (3, False), (6, True), (9, False)):
        mask[margin : 20 - margin, margin : 20 - margin] = value
    outline = exact_outline(mask)
    assert outline.area == mask.sum()
    assert sorted(len(part.interiors) for part in outline.geoms) == [1, 1]


def test_the_outline_lies_on_level_zero() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    frame = PlaneFrame(1000, 500, 32.0, 30.0, 6, 4)
    assert mask_outline(mask, frame).bounds == (1064.0, 530.0, 1160.0, 590.0)


def test_a_mask_of_another_size_than_its_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="not the frame's"):
        mask_outline(np.zeros((4, 6), bool), PlaneFrame(0, 0, 1.0, 1.0, 4, 6))


@pytest.mark.slow
def test_the_largest_overview_is_outlined_in_seconds() -> None:
    side = 12_500
    coarse = np.random.default_rng(0).random((125, 125), np.float32)
    quarter = ndimage.zoom(coarse, side // 4 // 125, order=1) > 0.5
    mask = quarter.repeat(4, axis=0).repeat(4, axis=1)
    started = time.process_time()
    outline = mask_outline(mask, frame_of(mask, 32.0))
    assert time.process_time() - started < 20  # twice the aim, for slow machines
    assert outline.area == pytest.approx(mask.sum() * 32.0**2, rel=1e-3)
