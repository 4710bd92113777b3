"""Laws of a comparison as a whole: missing values, closeness, the readers' mean."""

import math

import numpy as np
import pytest

from pipeline.core.agreement import closeness, compare, cutoff_scheme, mean_reader, panel
from pipeline.core.reliability import icc_agreement

A = np.array([5.0, 12, math.nan, 33, 47, 8])
B = np.array([6.0, 10, 20, math.nan, 50, 8])


def test_only_slides_that_both_rated_count() -> None:
    found = compare(("a", A), ("b", B))
    assert found.slides.tolist() == [0, 1, 4, 5]
    kept = found.slides
    assert found.icc_agreement == icc_agreement(np.column_stack([A[kept], B[kept]]))
    assert found.limits.bias.value == pytest.approx(float((A - B)[kept].mean()))


def test_closeness_counts_relative_to_the_second_rater() -> None:
    found = closeness(np.array([12.0, 8.0, 13.0, 0.0, 1.0]), np.array([10.0, 10.0, 10.0, 0.0, 0.0]))
    assert found.within_relative.count == 3  # 12 and 8 lie on the margin; 0 is met by 0 only
    assert found.within_points.count == 5
    assert found.mean_absolute_points == pytest.approx(1.6)
    assert found.median_absolute_points == 2.0


def test_without_a_slide_every_figure_is_null_with_a_reason() -> None:
    none = np.array([math.nan])
    found = compare(("a", none), ("b", np.array([3.0])))
    assert found.icc_agreement.reason == "0 slides; at least 3 are needed"
    assert found.closeness.mean_absolute_points is None
    assert found.closeness.within_points.pct is None
    assert found.ajcp_met is None
    assert all(entry.kappa_linear.value is None for entry in found.by_scheme)


def test_the_readers_mean_needs_every_reader() -> None:
    mean = mean_reader({"a": A, "b": B})
    assert mean[0] == 5.5
    assert np.isnan(mean[[2, 3]]).all()


def test_a_panel_takes_slides_that_all_rated() -> None:
    found = panel({"a": A, "b": B, "c": A + 1})
    assert found.slides == 4


def test_the_criterion_needs_correlation_and_closeness() -> None:
    manual = np.linspace(5, 60, 12)
    assert compare(("p", manual * 1.1), ("m", manual)).ajcp_met is True
    assert compare(("p", manual * 1.5), ("m", manual)).ajcp_met is False


def test_plain_cutoffs_are_labelled_by_their_ranges() -> None:
    assert cutoff_scheme("x", [5, 10]).labels == ("<5", "5 to <10", ">=10")
    with pytest.raises(ValueError, match="must rise"):
        cutoff_scheme("x", [10, 5])
