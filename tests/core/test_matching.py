"""One-to-one matching: the largest one, on the paper's own files and against oracles."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pipeline.core.matching import Counts, count_matches, match

Points = NDArray[np.float64]
COORDINATES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6)


def points(rows: list[tuple[int, int]]) -> Points:
    return np.array(rows, float).reshape(-1, 2)


def most_pairs(near: NDArray[np.bool_]) -> int:
    """Size of a largest matching by trying all of them."""
    found, true = near.shape
    if found > true:
        return most_pairs(near.T)
    return max(
        (
            sum(near[i, j] for i, j in enumerate(chosen))
            for chosen in itertools.permutations(range(true), found)
        ),
        default=0,
    )


@given(COORDINATES, COORDINATES, st.sampled_from([0.0, 1.0, 2.0, 5.0, 20.0]))
def test_no_matching_has_more_pairs(
    found: list[tuple[int, int]], true: list[tuple[int, int]], radius: float
) -> None:
    a, b = points(found), points(true)
    assert len(match(a, b, radius)) == most_pairs(cdist(a, b) <= radius)


@given(COORDINATES, COORDINATES, st.floats(0, 20))
def test_pairs_are_one_to_one_and_within_the_radius(
    found: list[tuple[int, int]], true: list[tuple[int, int]], radius: float
) -> None:
    a, b = points(found), points(true)
    pairs = match(a, b, radius)
    assert pairs.dtype == np.int64
    assert pairs.shape == (len(pairs), 2)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert (np.diff(pairs[:, 0]) > 0).all()
    assert (np.hypot(*(a[pairs[:, 0]] - b[pairs[:, 1]]).T) <= radius + 1e-9).all()


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, unique=True))
def test_identical_sets_match_wholly(rows: list[tuple[int, int]]) -> None:
    counts = count_matches(points(rows), points(rows), 0.0)
    assert counts == Counts(len(rows), 0, 0)
    assert counts.f1 == counts.precision == counts.recall == 1.0


@given(COORDINATES, COORDINATES, st.floats(0, 20))
def test_exchanging_found_and_true_exchanges_false_and_missed(
    found: list[tuple[int, int]], true: list[tuple[int, int]], radius: float
) -> None:
    ours = count_matches(points(found), points(true), radius)
    assert count_matches(points(true), points(found), radius) == Counts(
        ours.hits, ours.missed, ours.false
    )


def test_the_radius_is_inclusive() -> None:
    assert len(match(points([(0, 0)]), points([(3, 4)]), 5.0)) == 1
    assert len(match(points([(0, 0)]), points([(3, 4)]), 4.999)) == 0


def test_a_greedy_choice_does_not_cost_a_pair() -> None:
    # the nearer truth of the first cell is the only one of the second
    found, true = points([(10, 0), (14, 0)]), points([(12, 0), (7, 0)])
    assert len(match(found, true, 3.0)) == 2


def test_matching_with_nothing_gives_no_pairs() -> None:
    nothing, something = np.empty((0, 2)), points([(1, 1)])
    for a, b in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert match(a, b, 5.0).shape == (0, 2)


def test_coincident_cells_need_coincident_truths() -> None:
    assert count_matches(points([(5, 5)] * 3), points([(5, 5)]), 2.0) == Counts(1, 2, 0)


def test_figures_of_nothing_are_none_not_0() -> None:
    assert Counts().f1 is None
    assert Counts(0, 3, 0).recall is None
    assert Counts(0, 0, 3).precision is None
    assert Counts(0, 0, 3).f1 == 0.0


def test_counts_of_fields_add_up() -> None:
    total = Counts(8, 2, 1) + Counts(2, 0, 3)
    assert total == Counts(10, 2, 4)
    assert total.precision == pytest.approx(10 / 12)
    assert total.recall == pytest.approx(10 / 14)
    assert total.f1 == pytest.approx(20 / 26)


def test_a_hundred_thousand_cells_are_matched_in_seconds() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 20_000, (100_000, 2))
    counts = count_matches(true + rng.normal(0, 2, true.shape), true, 12.5)
    assert counts.recall is not None
    assert counts.recall > 0.99


# --- the paper's own files -------------------------------------------------------------------


def read_points(path: Path, first: int, stride: int) -> dict[int, Points]:
    """Image id -> (N, 2) points; ``stride`` numbers a point, x and y leading them."""
    fields = {}
    for line in path.read_text().splitlines():
        values = [float(word) for word in line.split()]
        count = int(values[1])
        rows = np.array(values[first : first + stride * count]).reshape(count, stride)
        fields[int(values[0])] = rows[:, :2]
    return fields


@pytest.fixture(scope="module")
def paper_fields(ki67_data: Path) -> list[tuple[Points, Points]]:
    """(found, true) of the 402 BCData test images, in the paper's 512-pixel frame."""
    folder = ki67_data / "paper_point_files"
    found = read_points(folder / "HRNet_BCD_test_pred.txt", 2, 2)
    true = read_points(folder / "BCD_test_gt.txt", 2, 5)
    assert len(true) == 402
    assert sum(map(len, true.values())) == 65_432
    return [(found.get(number, np.empty((0, 2))), truth) for number, truth in true.items()]


def f1_pct(fields: list[tuple[Points, Points]], radius: float) -> float:
    f1 = sum((count_matches(a, b, radius) for a, b in fields), Counts()).f1
    assert f1 is not None
    return 100 * f1


def test_the_papers_files_give_the_papers_f1(paper_fields: list[tuple[Points, Points]]) -> None:
    assert f1_pct(paper_fields, 5.0) == pytest.approx(72.06, abs=0.005)
    assert f1_pct(paper_fields, 10.0) == pytest.approx(84.20, abs=0.005)


def test_the_papers_files_give_the_papers_counting_errors(
    paper_fields: list[tuple[Points, Points]],
) -> None:
    error = np.array([len(found) - len(true) for found, true in paper_fields])
    assert np.abs(error).mean() == pytest.approx(19.44, abs=0.005)
    assert np.sqrt((error**2).mean()) == pytest.approx(26.14, abs=0.005)


def test_assigning_by_raw_distance_and_gating_afterwards_would_lose_pairs(
    paper_fields: list[tuple[Points, Points]],
) -> None:
    hits = found_total = true_total = 0
    for found, true in paper_fields:
        distance = cdist(found, true)
        rows, cols = linear_sum_assignment(distance)
        hits += int((distance[rows, cols] <= 10.0).sum())
        found_total, true_total = found_total + len(found), true_total + len(true)
    assert 100 * 2 * hits / (found_total + true_total) == pytest.approx(78.50, abs=0.005)
