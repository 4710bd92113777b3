"""Index, Wilson interval and status: table values, closed forms, edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.core.scoring import (
    FieldMean,
    labelling_index_pct,
    score_status,
    unweighted_field_mean,
    wilson95,
)

COUNTS = st.integers(1, 200_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))

TABLE = {  # cells: intervals at 3, 5, 20 and 30 % to one decimal
    100: [(1.0, 8.5), (2.2, 11.2), (13.3, 28.9), (21.9, 39.6)],
    400: [(1.7, 5.2), (3.3, 7.6), (16.4, 24.2), (25.7, 34.7)],
    500: [(1.8, 4.9), (3.4, 7.3), (16.7, 23.7), (26.1, 34.2)],
    1000: [(2.1, 4.3), (3.8, 6.5), (17.6, 22.6), (27.2, 32.9)],
    2000: [(2.3, 3.8), (4.1, 6.0), (18.3, 21.8), (28.0, 32.0)],
    100_000: [(2.9, 3.1), (4.9, 5.1), (19.8, 20.2), (29.7, 30.3)],
}


@pytest.mark.parametrize("cells", TABLE)
def test_wilson_gives_the_published_table(cells: int) -> None:
    for percent, (low, high) in zip((3, 5, 20, 30), TABLE[cells], strict=True):
        interval = wilson95(cells * percent // 100, cells)
        assert interval is not None
        assert interval == pytest.approx((low, high), abs=0.051)


@given(COUNTS)
def test_wilson_equals_scipys(counts: tuple[int, int]) -> None:
    positive, total = counts
    oracle = stats.binomtest(positive, total).proportion_ci(0.95, method="wilson")
    assert wilson95(positive, total) == pytest.approx(
        (100 * oracle.low, 100 * oracle.high), abs=1e-8
    )


@given(COUNTS)
def test_the_interval_holds_the_index_and_stays_within_0_and_100(counts: tuple[int, int]) -> None:
    index, interval = labelling_index_pct(*counts), wilson95(*counts)
    assert index is not None
    assert interval is not None
    assert 0 <= interval[0] <= index <= interval[1] <= 100


@given(COUNTS)
def test_counting_the_other_class_mirrors_the_interval(counts: tuple[int, int]) -> None:
    positive, total = counts
    ours, other = wilson95(positive, total), wilson95(total - positive, total)
    assert ours is not None
    assert other is not None
    assert ours == pytest.approx((100 - other[1], 100 - other[0]), abs=1e-9)


def test_no_cells_have_no_index_and_no_interval() -> None:
    assert labelling_index_pct(0, 0) is None
    assert wilson95(0, 0) is None


def test_all_negative_is_0_and_all_positive_is_100() -> None:
    assert labelling_index_pct(0, 50) == 0.0
    assert labelling_index_pct(50, 50) == 100.0


@pytest.mark.parametrize(("positive", "total"), [(3, 2), (-1, 2), (0, -1)])
def test_impossible_counts_are_refused(positive: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"{positive} positive of {total}"):
        labelling_index_pct(positive, total)
    with pytest.raises(ValueError, match=f"{positive} positive of {total}"):
        wilson95(positive, total)


def test_a_clean_slide_is_ok_without_a_reason() -> None:
    assert score_status(500, 3.0, 3.0, [], 500) == ("ok", None)


def test_flags_are_named_in_the_reason() -> None:
    assert score_status(900, 3.0, 3.0, ["unreadable_tiles", "mpp_assumed"], 500) == (
        "ok_with_flags",
        "unreadable_tiles, mpp_assumed",
    )


def test_too_few_cells_comes_before_flags_and_says_both_numbers() -> None:
    status, reason = score_status(499, 1.5, 3.0, ["mpp_assumed"], 500)
    assert status == "too_few_cells"
    assert reason == "499 cells in 1.5 mm2 analysed of 3 mm2 tissue; 500 are needed"


def test_no_tissue_comes_first() -> None:
    assert score_status(0, 0.0, 0.0, ["mpp_assumed"], 500) == ("no_tissue", "no tissue was found")


def test_the_field_mean_counts_fields_alike_however_many_cells_they_hold() -> None:
    # one field with 300 cells, 30 % positive; one with 100, 10 %; one with 99, which is left out
    x_um = np.repeat([10.0, 510.0, 1010.0], [300, 100, 99])
    positive = np.concatenate([np.arange(300) < 90, np.arange(100) < 10, np.ones(99, bool)])
    result = unweighted_field_mean(x_um, np.zeros(499), positive)
    assert result.fields == 2
    assert result.mean_pct == pytest.approx(20.0)


def test_without_a_full_field_there_is_no_field_mean() -> None:
    none = np.empty(0)
    assert unweighted_field_mean(none, none, none.astype(bool)) == FieldMean(None, 0)
    few = np.arange(99.0)
    assert unweighted_field_mean(few, few, few > 50) == FieldMean(None, 0)


@given(st.integers(0, 2**32 - 1))
def test_the_field_mean_knows_no_order_and_no_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_um, y_um = rng.integers(0, 3000 * 8, (2, 4000)) / 8
    positive = rng.random(4000) < x_um / 3000
    order = rng.permutation(4000)
    moved = unweighted_field_mean(x_um[order] + 1024, y_um[order] - 512, positive[order])
    still = unweighted_field_mean(x_um, y_um, positive)
    assert moved == still
    assert still.mean_pct is not None
    assert 0 <= still.mean_pct <= 100


def test_a_field_without_size_is_refused() -> None:
    with pytest.raises(ValueError, match="field_um=0"):
        unweighted_field_mean(np.zeros(1), np.zeros(1), np.ones(1, bool), field_um=0)
