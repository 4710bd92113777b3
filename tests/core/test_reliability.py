"""Laws of the coefficients: published examples, other programs, and what is undefined."""

import math

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.core.reliability import (
    Estimate,
    concordance,
    icc_agreement,
    icc_consistency,
    pearson,
    spearman,
)

# the other program is written for an older pandas
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]],
    np.float64,
)
"""Six targets by four judges: Shrout and Fleiss 1979, table 2."""
# peak flow of 17 people with two meters, l/min: Bland and Altman 1986, table 1
WRIGHT = np.array(
    [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427.0]
)
MINI = np.array(
    [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451.0]
)

percents = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 2))
ratings = st.tuples(st.integers(3, 12), st.integers(2, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=percents)
)


def simulated(slides: int, raters: int, seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    truth = random.uniform(2, 70, slides)[:, None]
    noisy: NDArray[np.float64] = truth + random.normal(0, 6, (slides, raters))
    return noisy + np.arange(raters) * 2.5


def pingouin_icc(table: NDArray[np.float64]) -> pd.DataFrame:
    slides, raters = np.indices(table.shape)
    frame = pd.DataFrame({"s": slides.ravel(), "r": raters.ravel(), "v": table.ravel()})
    return pingouin.intraclass_corr(frame, "s", "r", "v").set_index("Type")


def finite(estimate: Estimate) -> bool:
    numbers = [estimate.value, *(estimate.interval95 or ())]
    return all(number is None or math.isfinite(number) for number in numbers)


def test_the_published_table_of_shrout_and_fleiss_gives_their_coefficients() -> None:
    agreement, consistency = icc_agreement(SHROUT_FLEISS), icc_consistency(SHROUT_FLEISS)
    assert agreement.value == pytest.approx(0.29, abs=0.005)
    assert consistency.value == pytest.approx(0.71, abs=0.005)
    assert agreement.interval95 == pytest.approx((0.02, 0.76), abs=0.005)
    assert consistency.interval95 == pytest.approx((0.34, 0.95), abs=0.005)


@pytest.mark.parametrize(("slides", "raters"), [(5, 2), (30, 2), (30, 5), (200, 3)])
def test_icc_equals_another_programs(slides: int, raters: int) -> None:
    table = simulated(slides, raters, seed=slides + raters)
    theirs = pingouin_icc(table)
    for ours, name in ((icc_agreement(table), "ICC(A,1)"), (icc_consistency(table), "ICC(C,1)")):
        assert ours.value == pytest.approx(theirs.loc[name, "ICC"], abs=1e-9)
        assert ours.interval95 == pytest.approx(tuple(theirs.loc[name, "CI95"]), abs=0.0051)


def test_lins_coefficient_of_the_two_flow_meters_is_the_published_one() -> None:
    found = concordance(WRIGHT, MINI)
    assert found.value == pytest.approx(0.943, abs=0.0005)
    assert found.interval95 is not None
    assert found.interval95[0] < 0.943 < found.interval95[1]


def test_the_interval_of_lins_coefficient_covers_the_truth() -> None:
    random = np.random.default_rng(3)
    slope, shift, noise = 0.9, 1.0, 0.5
    truth = 2 * slope / (1 + slope**2 + noise**2 + shift**2)
    hits, trials = 0, 400
    for _ in range(trials):
        x = random.normal(0, 1, 40)
        found = concordance(x, slope * x + shift + random.normal(0, noise, 40))
        assert found.interval95 is not None
        hits += found.interval95[0] <= truth <= found.interval95[1]
    assert 0.92 <= hits / trials <= 0.98


def test_a_constant_difference_lowers_agreement_but_not_consistency() -> None:
    x = np.array([5.0, 12, 20, 33, 47])
    y = x + np.array([0.5, -0.5, 0.4, -0.3, 0.2])
    near, far = np.column_stack([x, y]), np.column_stack([x, y + 20])
    assert (icc_agreement(far).value or 1) < (icc_agreement(near).value or 0) - 0.2
    assert icc_consistency(far).value == pytest.approx(icc_consistency(near).value)
    assert (concordance(x, y + 20).value or 1) < (concordance(x, y).value or 0) - 0.2
    assert pearson(x, y + 20).value == pytest.approx(pearson(x, y).value)


def test_correlations_and_their_intervals_equal_another_programs() -> None:
    ours, theirs = pearson(WRIGHT, MINI), pingouin.corr(WRIGHT, MINI)
    assert ours.value == pytest.approx(float(theirs["r"].iloc[0]))
    assert ours.interval95 == pytest.approx(tuple(theirs["CI95"].iloc[0]), abs=0.0051)
    ranks = pingouin.corr(WRIGHT, MINI, method="spearman")
    assert spearman(WRIGHT, MINI).value == pytest.approx(float(ranks["r"].iloc[0]))


@settings(max_examples=40)
@given(ratings)
def test_no_figure_is_ever_nan_and_an_undefined_one_has_a_reason(
    table: NDArray[np.float64],
) -> None:
    x, y = table[:, 0], table[:, 1]
    found = [icc_agreement(table), icc_consistency(table)]
    found += [concordance(x, y), pearson(x, y), spearman(x, y)]
    for estimate in found:
        assert finite(estimate)
        assert (estimate.reason is None) == (
            estimate.value is not None and estimate.interval95 is not None
        )
        # with few slides an ICC's estimate, unlike what it estimates, can be below -1
        assert estimate.value is None or estimate.value <= 1.0000001
        if estimate.value is not None and estimate.interval95 is not None:
            low, high = estimate.interval95
            assert low <= estimate.value <= high


@settings(max_examples=40)
@given(ratings)
def test_the_order_of_slides_and_raters_changes_nothing(table: NDArray[np.float64]) -> None:
    turned = table[::-1, ::-1]
    for figure in (icc_agreement, icc_consistency):
        one, other = figure(table).value, figure(turned).value
        assert (one is None) == (other is None)
        if one is not None:
            assert other == pytest.approx(one, abs=1e-9)


@pytest.mark.parametrize("slides", [0, 1, 2])
def test_fewer_than_three_slides_give_no_coefficient(slides: int) -> None:
    table = np.arange(2.0 * slides).reshape(slides, 2)
    found = icc_agreement(table)
    assert found.value is None
    assert found.reason == f"{slides} slides; at least 3 are needed"
    assert concordance(table[:, 0], table[:, 1]).value is None


def test_constant_columns_have_no_correlation_and_equal_ones_no_interval() -> None:
    same, x = np.full(5, 10.0), np.array([1.0, 5, 9, 20, 40])
    assert pearson(same, x).value is None
    assert spearman(x, same).reason == "one rater's values do not vary"
    assert icc_agreement(np.column_stack([same, same])).value is None
    assert concordance(same, same).value is None
    perfect = icc_agreement(np.column_stack([x, x]))
    assert (perfect.value, perfect.interval95) == (1.0, None)
    assert concordance(x, x).value == pytest.approx(1.0)
