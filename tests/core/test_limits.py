"""Laws of the limits of agreement: the published example, coverage, what is undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.limits import bland_altman
from tests.core.test_reliability import MINI, WRIGHT

pairs = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=15)


def test_the_published_flow_meters_give_bland_and_altmans_figures() -> None:
    found = bland_altman(WRIGHT, MINI)
    assert found.bias.value == pytest.approx(-2.1, abs=0.05)
    assert found.spread_points == pytest.approx(38.8, abs=0.05)
    # the paper takes 2 SD where 1.96 is meant here, and 38.8 sqrt(3 / n) as standard error
    assert found.lower.value == pytest.approx(-79.7 + 0.04 * 38.8, abs=0.1)
    assert found.upper.value == pytest.approx(75.5 - 0.04 * 38.8, abs=0.1)
    assert found.bias.interval95 == pytest.approx((-22.0, 17.8), abs=0.1)
    assert found.lower.interval95 == pytest.approx((-114.3 + 1.55, -45.1 + 1.55), abs=0.4)
    assert found.upper.interval95 == pytest.approx((40.9 - 1.55, 110.1 - 1.55), abs=0.4)


@pytest.mark.parametrize("count", [10, 40])
def test_the_intervals_cover_the_true_bias_and_limit(count: int) -> None:
    random = np.random.default_rng(count)
    bias, spread, trials = 3.0, 5.0, 400
    hits = {"bias": 0, "upper": 0}
    for _ in range(trials):
        manual = random.uniform(2, 60, count)
        found = bland_altman(manual + random.normal(bias, spread, count), manual)
        for name, truth in (("bias", bias), ("upper", bias + 1.96 * spread)):
            interval = getattr(found, name).interval95
            hits[name] += interval[0] <= truth <= interval[1]
    assert all(hit / trials >= 0.91 for hit in hits.values()), hits


def test_a_proportional_bias_is_found_and_a_constant_one_is_not_taken_for_it() -> None:
    random = np.random.default_rng(1)
    manual = random.uniform(2, 60, 60)
    grown = bland_altman(manual * 1.2 + random.normal(0, 1, 60), manual)
    assert grown.slope.interval95 is not None
    assert grown.slope.interval95[0] > 0.1
    moved = bland_altman(manual + 5 + random.normal(0, 1, 60), manual)
    assert moved.slope.interval95 is not None
    assert moved.slope.interval95[0] < 0 < moved.slope.interval95[1]
    assert moved.slope_p is not None
    assert moved.slope_p > 0.05


def test_limits_that_widen_with_the_index_are_told() -> None:
    random = np.random.default_rng(2)
    manual = random.uniform(2, 60, 80)
    found = bland_altman(manual + random.normal(0, 1, 80) * manual / 6, manual)
    assert found.widening.interval95 is not None
    assert found.widening.interval95[0] > 0


@given(pairs)
def test_swapping_the_raters_turns_every_sign(values: list[tuple[int, int]]) -> None:
    x, y = np.array(values, np.float64).T
    one, other = bland_altman(x, y), bland_altman(y, x)
    assert one.bias.value == pytest.approx(-(other.bias.value or 0.0))
    assert one.lower.value == pytest.approx(-(other.upper.value or 0.0))
    assert one.spread_points == pytest.approx(other.spread_points)


def test_equal_differences_and_few_slides_give_reasons_not_nan() -> None:
    x = np.array([1.0, 4, 9, 16])
    found = bland_altman(x + 2, x)
    assert (found.bias.value, found.lower.value, found.upper.value) == (2.0, 2.0, 2.0)
    assert found.bias.interval95 is None
    assert found.slope.reason == "every slide has the same difference"
    assert bland_altman(x[:2], x[:2]).bias.reason == "2 slides; at least 3 are needed"
