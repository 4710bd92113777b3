"""Counting in squares: every cell once, order and place of the slide do not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.squares import check_cells, count_squares

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 400), st.floats(1.0, 5000.0))
def test_every_cell_lies_in_exactly_one_square(seed: int, cells: int, side_um: float) -> None:
    rng = np.random.default_rng(seed)
    x_um, y_um = rng.random((2, cells)) * 10.0 ** rng.integers(0, 6)
    positive = rng.random(cells) < 0.3
    counts = count_squares(x_um, y_um, positive, side_um=side_um)
    assert counts.total.sum() == cells
    assert counts.positive.sum() == positive.sum()
    assert (counts.total > 0).all()
    assert len(set(zip(counts.row, counts.column, strict=True))) == len(counts.total)
    at = (int((x_um[0] - x_um.min()) / side_um), int((y_um[0] - y_um.min()) / side_um))
    assert at in set(zip(counts.column.tolist(), counts.row.tolist(), strict=True))


@given(SEEDS, st.integers(1, 9), st.integers(0, 8), st.integers(0, 8))
def test_joined_squares_count_the_same_cells(seed: int, side: int, right: int, down: int) -> None:
    rng = np.random.default_rng(seed)
    x_um, y_um = rng.random((2, 300)) * 900
    positive = rng.random(300) < 0.3
    fine = count_squares(x_um, y_um, positive, side_um=20.0)
    coarse = fine.joined(side, right=right, down=down)
    assert coarse.total.sum() == 300
    assert coarse.positive.sum() == positive.sum()
    if not right and not down:
        whole = count_squares(x_um, y_um, positive, side_um=20.0 * side)
        assert coarse.total.tolist() == whole.total.tolist()
        assert coarse.positive.tolist() == whole.positive.tolist()


def test_cells_far_apart_need_no_lattice_between_them() -> None:
    far = np.array([0.0, 1e9])
    counts = count_squares(far, far, np.array([True, False]), side_um=1.0)
    assert counts.total.tolist() == [1, 1]
    assert counts.positive.tolist() == [1, 0]
    assert counts.column.tolist() == [0, 10**9]


def test_no_cell_gives_no_square() -> None:
    empty = np.empty(0)
    counts = count_squares(empty, empty, empty.astype(bool), side_um=1.0)
    assert len(counts.total) == len(counts.joined(3).total) == 0


def test_columns_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="three columns of one length"):
        check_cells(np.zeros(3), np.zeros(3), np.zeros(2, bool))
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_cells(np.array([0.0, np.nan]), np.zeros(2), np.zeros(2, bool))
