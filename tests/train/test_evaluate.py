"""Evaluation figures on cases small enough to count by hand."""

import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.train.evaluate import FoundCells, evaluate_points
from pipeline.train.fields import Field
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
