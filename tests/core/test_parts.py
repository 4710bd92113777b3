"""Laws of the parts of a tile: all tissue, no pixel twice, never dearer than the whole tile."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pipeline.core.parts import CALL_PX, cheapest_parts
from pipeline.core.tiling import Box

SQUARE_PX = 64
MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6)))


def cost(boxes: tuple[Box, ...], halo_px: int) -> int:
    return sum((box.width + 2 * halo_px) * (box.height + 2 * halo_px) + CALL_PX for box in boxes)


def painted(boxes: tuple[Box, ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """How many boxes hold each square."""
    times = np.zeros(shape, np.int64)
    for box in boxes:
        rows = slice(box.y0 // SQUARE_PX, box.y1 // SQUARE_PX)
        times[rows, box.x0 // SQUARE_PX : box.x1 // SQUARE_PX] += 1
    return times


@settings(max_examples=80, deadline=None)
@given(MASKS, st.sampled_from([0, 32, 128]))
def test_parts_hold_all_tissue_once_and_cost_no_more_than_its_bounds(
    covered: NDArray[np.bool_], halo_px: int
) -> None:
    boxes = cheapest_parts(covered, square_px=SQUARE_PX, halo_px=halo_px)
    times = painted(boxes, covered.shape)
    assert times.max(initial=0) <= 1
    assert (times[covered] == 1).all()
    for box in boxes:
        assert not any(side % SQUARE_PX for side in (box.x0, box.y0, box.x1, box.y1))
    if covered.any():
        row, col = (np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0))
        bounds = Box(
            *(int(side) * SQUARE_PX for side in (col[0], row[0], col[-1] + 1, row[-1] + 1))
        )
        assert cost(boxes, halo_px) <= cost((bounds,), halo_px)
    else:
        assert boxes == ()


def test_a_full_tile_is_one_part() -> None:
    boxes = cheapest_parts(np.ones((8, 8), np.bool_), square_px=256, halo_px=128)
    assert boxes == (Box(0, 0, 2048, 2048),)


def test_two_far_corners_are_two_parts_and_near_squares_are_one() -> None:
    covered = np.zeros((8, 8), np.bool_)
    covered[0, 0] = covered[7, 7] = True
    boxes = cheapest_parts(covered, square_px=256, halo_px=128)
    assert boxes == (Box(0, 0, 256, 256), Box(1792, 1792, 2048, 2048))
    covered[:] = False
    covered[0, 0] = covered[0, 2] = True
    assert cheapest_parts(covered, square_px=256, halo_px=128) == (Box(0, 0, 768, 256),)
