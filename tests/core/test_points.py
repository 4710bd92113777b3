"""Cell points: equal columns of fixed types, one order, counts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.points import LABEL_NAMES, NEGATIVE, POSITIVE, CellPoints


def drawn(seed: int, number: int = 50) -> CellPoints:
    """Cells on a coarse lattice, so that some coincide."""
    rng = np.random.default_rng(seed)
    return CellPoints(
        rng.integers(0, 5, number).astype(np.float64),
        rng.integers(0, 5, number).astype(np.float64),
        rng.integers(0, 3, number).astype(np.float32),
        rng.integers(0, 2, number).astype(np.uint8),
    )


def rows(points: CellPoints) -> list[tuple[float, ...]]:
    return [
        tuple(map(float, row))
        for row in zip(points.x_l0, points.y_l0, points.score, points.label, strict=True)
    ]


@given(st.integers(0, 10_000))
def test_sorting_gives_one_order_whatever_the_rows_came_in(seed: int) -> None:
    points = drawn(seed)
    shuffled = points.take(np.random.default_rng(seed).permutation(len(points)))
    assert rows(points.sorted()) == rows(shuffled.sorted())
    assert sorted(rows(points)) == sorted(rows(points.sorted()))


def test_rows_are_ordered_from_top_to_bottom_then_left_to_right() -> None:
    points = drawn(0).sorted()
    places = list(zip(points.y_l0, points.x_l0, strict=True))
    assert places == sorted(places)


@given(st.integers(0, 10_000), st.integers(0, 50))
def test_parts_put_together_are_the_whole(seed: int, cut: int) -> None:
    points = drawn(seed)
    index = np.arange(len(points))
    parts = [points.take(index < cut), CellPoints.empty(), points.take(index[cut:])]
    assert rows(CellPoints.concatenate(parts)) == rows(points)


@given(st.integers(0, 10_000))
def test_every_cell_is_positive_or_negative(seed: int) -> None:
    points = drawn(seed)
    assert points.positive == int(points.label.sum())
    assert points.positive + points.negative == len(points)


def test_no_cells_are_no_rows() -> None:
    for points in (CellPoints.empty(), CellPoints.concatenate([])):
        assert len(points) == points.positive == points.negative == 0


def test_the_words_in_files_follow_the_labels() -> None:
    assert LABEL_NAMES[POSITIVE] == "positive"
    assert LABEL_NAMES[NEGATIVE] == "negative"


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("x_l0", np.zeros(3, np.float32)),
        ("y_l0", np.zeros(2)),
        ("score", np.zeros(3)),
        ("label", np.zeros(3, np.int64)),
        ("label", np.zeros((3, 1), np.uint8)),
    ],
)
def test_unequal_or_mistyped_columns_are_refused(column: str, wrong: np.ndarray) -> None:
    columns: dict[str, Any] = {
        "x_l0": np.zeros(3),
        "y_l0": np.zeros(3),
        "score": np.zeros(3, np.float32),
        "label": np.zeros(3, np.uint8),
    }
    with pytest.raises(ValueError, match="must be 1-D, equally long"):
        CellPoints(**{**columns, column: wrong})
