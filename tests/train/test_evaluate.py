"""Evaluation figures on cases small enough to count by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import AnnotationError
from pipeline.train.evaluate import Criterion, FoundCells, evaluate_points, full_figures
from pipeline.train.fields import UNCLASSED, Field
from pipeline.train.report import markdown


def field(points: list[tuple[float, float, int]], mpp_um: float = 0.5) -> Field:
    rows = np.array(points, np.float64).reshape(-1, 3)
    image = np.zeros((100, 200, 3), np.uint8)
    return Field("f", "g", image, rows[:, 0], rows[:, 1], rows[:, 2].astype(np.uint8), mpp_um)


def found(points: list[tuple[float, float, int]]) -> FoundCells:
    rows = np.array(points, np.float64).reshape(-1, 3)
    return FoundCells(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.uint8))


def test_the_figures_of_a_hand_made_field() -> None:
    truth = field([(10, 10, 1), (30, 10, 1), (50, 10, 0), (70, 10, 0)])
    # right; wrong class; 6 px = 3 um away: inside the radius; nothing at the fourth; one too many
    cells = found([(10, 10, 1), (30, 10, 0), (50, 16, 0), (150, 50, 1)])

    figures = evaluate_points([truth], [cells], radius_um=3.125)

    assert figures["f1_all"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert figures["f1_positive"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert figures["f1_negative"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert figures["f1_labelled"] == pytest.approx(2 * 2 / (2 * 2 + 2 + 2))
    assert list(figures["confusion"].values()) == [1, 1, 0, 1]
    assert (figures["count_mae"], figures["count_rmse"]) == (0, 0)


def test_a_strict_radius_loses_the_distant_pair() -> None:
    truth, cells = field([(50, 10, 0)]), found([(50, 16, 0)])

    assert evaluate_points([truth], [cells], radius_um=3.0)["f1_all"] == 1
    assert evaluate_points([truth], [cells], radius_um=2.9)["f1_all"] == 0


def test_counts_add_up_over_fields_before_the_ratio_is_made() -> None:
    easy, hard = field([(10, 10, 1)]), field([(10, 10, 1), (30, 10, 1), (50, 10, 1)])
    cells = found([(10, 10, 1)])

    figures = evaluate_points([easy, hard], [cells, cells], radius_um=3.125)

    assert figures["f1_all"] == pytest.approx(2 * 2 / (2 * 2 + 0 + 2))
    assert figures["count_mae"] == 1
    assert figures["count_rmse"] == pytest.approx(2**0.5)


def test_the_index_is_compared_only_where_twenty_cells_are_annotated() -> None:
    row = [(5.0 + 9 * n, 10.0, int(n < 10)) for n in range(20)]
    few = field(row[:19])
    many = field(row)
    all_positive = found([(x, y, 1) for x, y, _ in row])

    figures = evaluate_points([few, many], [all_positive, all_positive], radius_um=3.125)

    assert figures["index_fields"] == 1
    assert figures["index_mae_pct"] == figures["index_bias_pct"] == 50


def test_nothing_found_where_nothing_is_has_no_f1() -> None:
    figures = evaluate_points([field([])], [found([])], radius_um=3.125)

    assert figures["f1_all"] is None
    assert figures["index_mae_pct"] is None


def test_fields_and_results_must_pair_up() -> None:
    with pytest.raises(AnnotationError, match="1 fields and 0 results"):
        evaluate_points([field([])], [], radius_um=3.125)


def test_the_table_shows_every_set_and_radius() -> None:
    figures = evaluate_points([field([(1, 1, 1)])], [found([(1, 1, 1)])], radius_um=3.125)

    text = markdown({"one": {"model": "m", "at_3.125_um": figures}})

    assert "within 3.125 um" in text
    assert "| one | 1 | 1.000 |" in text


def test_the_published_frame_stretches_each_side_to_512_pixels() -> None:
    truth, cells = field([(100, 50, 0)]), found([(103, 50, 0)])

    # 200 px wide: 3 px are 7.68 of 512
    near = full_figures([truth], [cells], criterion=Criterion(7.7, "px512"))
    far = full_figures([truth], [cells], criterion=Criterion(7.6, "px512"))

    assert (near["f1_all"], far["f1_all"]) == (1, 0)
    assert near["match_radius_px512"] == 7.7


def test_a_false_cell_on_a_lymphocyte_is_counted_as_such_and_stays_false() -> None:
    truth = replace(field([(10, 10, 1)]), other_xy_px=np.array([[50.0, 10.0], [90.0, 10.0]]))
    # a hit; one on a lymphocyte; two on one lymphocyte count once; one on nothing
    cells = found([(10, 10, 1), (51, 10, 0), (90, 10, 0), (91, 10, 0), (150, 50, 0)])

    figures = evaluate_points([truth], [cells], radius_um=3.125)

    assert figures["not_tumour"] == {"marked": 2, "false_cells_on_them": 2, "false_cells": 4}
    assert figures["f1_all"] == pytest.approx(2 / (2 + 4))
    assert figures["cells"]["true_all"] == 1


def test_duplicate_marks_are_reported_both_ways() -> None:
    truth = field([(10, 10, 1), (10.1, 10.1, 1), (80, 10, 0)])
    cells = found([(10, 10, 1), (80, 10, 0)])

    figures = full_figures([truth], [cells], criterion=Criterion(3.125))

    assert figures["recall_all"] == pytest.approx(2 / 3)
    assert figures["without_duplicates"]["removed"] == 1
    assert figures["without_duplicates"]["recall_all"] == 1
    assert "counted once" in markdown({"a": {"model": "m", "at_3.125_um": figures}})


def test_cells_without_a_class_leave_the_class_figures_undefined() -> None:
    truth, cells = field([(10, 10, UNCLASSED)]), found([(10, 10, 1)])

    figures = evaluate_points([truth], [cells], radius_um=3.125)

    assert (figures["f1_all"], figures["f1_positive"], figures["index_found_pct"]) == (
        1,
        None,
        None,
    )


def test_fields_of_one_group_are_drawn_together() -> None:
    right, wrong = found([(10, 10, 1)]), found([(150, 50, 1)])
    truth = field([(10, 10, 1)])
    alone = [replace(truth, group=str(number)) for number in range(8)]
    # each group holds one hit and one miss: every drawing of groups gives one half
    paired = [replace(truth, group=str(number // 2)) for number in range(8)]
    cells = [right, wrong] * 4

    apart = full_figures(alone, cells, criterion=Criterion(3.125))["interval95"]["f1_all"]
    together = full_figures(paired, cells, criterion=Criterion(3.125))["interval95"]["f1_all"]

    assert together == (0.5, 0.5)
    assert apart[0] < 0.5 < apart[1]


def test_two_groups_give_no_interval() -> None:
    fields = [replace(field([(10, 10, 1)]), group=name) for name in "ab"]

    figures = full_figures(fields, [found([(10, 10, 1)])] * 2, criterion=Criterion(3.125))

    assert figures["interval95"] is None


@given(
    seed=st.integers(0, 10_000),
    cells=st.integers(0, 12),
    radius=st.floats(0.5, 20),
)
def test_micro_figures_of_one_set_against_itself_are_perfect(
    seed: int, cells: int, radius: float
) -> None:
    rng = np.random.default_rng(seed)
    points = [(*rng.uniform(0, 100, 2), int(rng.integers(2))) for _ in range(cells)]
    figures = evaluate_points([field(points)], [found(points)], radius_um=radius)

    assert figures["f1_all"] == (1 if cells else None)
    assert figures["count_mae"] == figures["count_rmse"] == 0
