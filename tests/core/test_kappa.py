"""Laws of the categories and of weighted kappa."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from statsmodels.stats.inter_rater import cohens_kappa

from pipeline.core.agreement import cutoff_scheme
from pipeline.core.category import SCHEMES, categorise
from pipeline.core.kappa import Weighting, category_numbers, confusion_table, kappa

tables = st.integers(2, 5).flatmap(
    lambda size: arrays(np.int64, (size, size), elements=st.integers(0, 30))
)


@given(tables, st.sampled_from(["linear", "quadratic"]))
def test_kappa_and_its_interval_equal_another_programs(
    table: NDArray[np.int64], weighting: Weighting
) -> None:
    found = kappa(table, weighting)
    if found.interval95 is None:
        return
    theirs = cohens_kappa(table, wt=weighting)
    assert found.value == pytest.approx(theirs.kappa, abs=1e-9)
    low, high = max(-1.0, theirs.kappa_low), min(1.0, theirs.kappa_upp)
    assert found.interval95 == pytest.approx((low, high), abs=1e-9)


@given(tables)
def test_kappa_is_a_number_with_interval_or_says_why_not(table: NDArray[np.int64]) -> None:
    found = kappa(table)
    if found.value is None or found.interval95 is None:
        assert found.reason
    else:
        assert -1 <= found.interval95[0] <= found.value <= found.interval95[1] <= 1


def test_both_weightings_are_the_plain_kappa_at_one_cutoff() -> None:
    table = np.array([[20, 5], [3, 12]])
    assert kappa(table, "linear") == kappa(table, "quadratic")


def test_one_category_for_all_is_no_agreement_to_be_measured() -> None:
    found = kappa(np.array([[12, 0], [0, 0]]))
    assert found.value is None
    assert found.reason == "both raters put every slide in the same one category"


@pytest.mark.parametrize("name", sorted(SCHEMES))
@given(values=st.lists(st.sampled_from([0.0, 2.99, 3.0, 4.9, 5.0, 20.0, 20.1, 30.0, 100.0])))
def test_categories_are_those_of_the_score(name: str, values: list[float]) -> None:
    scheme = SCHEMES[name]
    numbers = category_numbers(np.array(values, np.float64), scheme)
    words = [categorise(value, None, scheme) for value in values]
    assert [scheme.labels[number] for number in numbers] == [word.label for word in words if word]


def test_the_table_has_the_first_rater_in_rows() -> None:
    scheme = cutoff_scheme("", [20.0])
    first = category_numbers(np.array([10.0, 25, 20, 30]), scheme)
    second = category_numbers(np.array([10.0, 15, 25, 30]), scheme)
    assert confusion_table(first, second, 2).tolist() == [[1, 0], [1, 2]]
