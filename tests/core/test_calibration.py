"""Laws of the calibration: known distortions are undone, intervals cover, doubt means no change."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.calibration import Calibration
from pipeline.core.calibration_fit import (
    CountedField,
    CountedGroup,
    fit_calibration,
    leave_one_out,
    pool_groups,
)
from pipeline.core.scoring import wilson95
from pipeline.errors import AnnotationError

Detector = Callable[[np.random.Generator, int, int, float], tuple[int, int]]


def detector(recall_positive: float, recall_negative: float, confused: float) -> Detector:
    """A detector that misses cells and confuses classes; a slide moves the recalls' odds."""

    def detect(
        random: np.random.Generator, positive: int, negative: int, slide_shift: float
    ) -> tuple[int, int]:
        recalls = (
            1 / (1 + math.exp(-(math.log(recall / (1 - recall)) + sign * slide_shift)))
            for recall, sign in ((recall_positive, 1), (recall_negative, -1))
        )
        found = [random.binomial(n, r) for n, r in zip((positive, negative), recalls, strict=True)]
        away = [random.binomial(n, confused) for n in found]
        return found[0] - away[0] + away[1], found[1] - away[1] + away[0]

    return detect


def counted(
    random: np.random.Generator,
    detect: Detector,
    *,
    groups: int,
    slide_spread: float,
    low: float = 3.0,
    high: float = 60.0,
) -> list[CountedGroup]:
    """Three fields of about 150 cells from each of several slides."""
    fields = []
    for number in range(groups):
        share, shift = random.uniform(low, high) / 100, random.normal(0, slide_spread)
        for place in range(3):
            here = 1 / (1 + math.exp(-math.log(share / (1 - share)) - random.normal(0, 0.4)))
            total = int(random.poisson(150))
            positive = int(random.binomial(total, here))
            found = detect(random, positive, total - positive, shift)
            field = CountedField(
                f"{number}-{place}", f"slide {number}", positive, total - positive, *found
            )
            fields.append(field)
    return pool_groups(fields)[0]


def exact_groups(shift: float, slope: float) -> list[CountedGroup]:
    """Large groups whose found odds follow the manual ones without noise."""
    groups = []
    for number, logit in enumerate(np.linspace(-3, 1, 9)):
        manual = round(1e6 / (1 + math.exp(-logit)))
        found = round(1e6 / (1 + math.exp(-(shift + slope * logit))))
        groups.append(CountedGroup(f"{number}", 1, manual, 10**6 - manual, found, 10**6 - found))
    return groups


calibrations = st.builds(
    Calibration,
    centre_logit=st.floats(-3, 1),
    shift_logit=st.floats(-2, 2),
    log_slope=st.floats(-1, 1),
    covariance=st.builds(
        lambda a, b, r: ((a * a, r * a * b), (r * a * b, b * b)),
        st.floats(0, 0.5),
        st.floats(0, 0.3),
        st.floats(-1, 1),
    ),
    spread_logit=st.floats(0, 1),
    groups=st.integers(6, 50),
    fields=st.integers(6, 200),
    range_pct=st.just((3.0, 60.0)),
)
percents = st.floats(0, 100)


@pytest.mark.parametrize(
    ("detect", "spread"),
    [
        (detector(0.9, 0.6, 0.0), 0.5),
        (detector(0.85, 0.85, 0.05), 0.3),
        (detector(0.7, 0.9, 0.08), 0.3),
    ],
    ids=["misses negatives", "confuses classes", "both"],
)
@pytest.mark.parametrize("groups", [6, 15])
def test_the_corrected_interval_covers_the_manual_index(
    detect: Detector, spread: float, groups: int
) -> None:
    random = np.random.default_rng(groups)
    hits, before, after = [], [], []
    for _ in range(60):
        try:
            fit = fit_calibration(counted(random, detect, groups=groups, slide_spread=spread))
        except AnnotationError:
            continue
        for _ in range(4):
            positive = int(random.uniform(150, 1650))
            found = detect(random, positive, 3000 - positive, random.normal(0, spread))
            index, truth = 100 * found[0] / sum(found), 100 * positive / 3000
            own = wilson95(found[0], sum(found))
            assert own is not None
            corrected, (low, high) = fit.apply(index, own)
            hits.append(low <= truth <= high)
            before.append(abs(index - truth))
            after.append(abs(corrected - truth))
    assert len(hits) > 200
    assert np.mean(hits) >= 0.90
    assert np.mean(after) < np.mean(before)


@pytest.mark.parametrize(("shift", "slope"), [(0.4, 1.0), (-0.3, 1.0), (0.2, 0.8), (0.0, 1.25)])
def test_a_known_line_is_recovered(shift: float, slope: float) -> None:
    fit = fit_calibration(exact_groups(shift, slope))
    assert math.exp(fit.log_slope) == pytest.approx(slope, abs=1e-3)
    assert fit.shift_logit == pytest.approx(shift + (slope - 1) * fit.centre_logit, abs=1e-3)
    assert fit.spread_logit < 1e-3
    for group in exact_groups(shift, slope):
        assert fit.corrected(group.found_pct) == pytest.approx(group.manual_pct, abs=0.02)


def test_missing_one_class_more_often_is_a_shift_by_the_ratio_of_the_recalls() -> None:
    random = np.random.default_rng(4)
    fit = fit_calibration(counted(random, detector(0.9, 0.7, 0.0), groups=30, slide_spread=0.0))
    assert fit.shift_logit == pytest.approx(math.log(0.9 / 0.7), abs=0.05)
    assert math.exp(fit.log_slope) == pytest.approx(1.0, abs=0.05)


def test_equal_counts_change_nothing() -> None:
    groups = [CountedGroup(f"{n}", 1, n * 9, 200 - n * 9, n * 9, 200 - n * 9) for n in range(1, 9)]
    fit = fit_calibration(groups)
    for index in (0.0, 0.3, 7.0, 33.0, 80.0, 100.0):
        corrected, interval = fit.apply(index, (index * 0.8, min(100.0, index * 1.2)))
        assert corrected == pytest.approx(index, abs=1e-9)
        assert interval == pytest.approx((index * 0.8, min(100.0, index * 1.2)), abs=1e-6)


def test_few_noisy_groups_correct_less_than_many() -> None:
    random = np.random.default_rng(2)
    few, many = (
        [
            fit_calibration(counted(random, detector(0.8, 0.8, 0.12), groups=n, slide_spread=0.6))
            for _ in range(25)
        ]
        for n in (7, 40)
    )
    assert abs(np.mean([fit.log_slope for fit in few])) < abs(
        np.mean([fit.log_slope for fit in many])
    )
    assert np.mean([fit.covariance[1][1] for fit in few]) > np.mean(
        [fit.covariance[1][1] for fit in many]
    )


@given(calibrations, percents, percents)
def test_a_higher_index_is_never_corrected_to_a_lower_one(
    fit: Calibration, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert 0 <= fit.corrected(low) <= fit.corrected(high) <= 100
    assert (fit.corrected(0.0), fit.corrected(100.0)) == (0.0, 100.0)


@given(calibrations, st.tuples(percents, percents, percents))
def test_the_interval_holds_the_index_and_what_the_slide_alone_would_give(
    fit: Calibration, values: tuple[float, float, float]
) -> None:
    low, index, high = sorted(values)
    corrected, (lower, upper) = fit.apply(index, (low, high))
    assert 0 <= lower <= corrected + 1e-9
    assert corrected - 1e-9 <= upper <= 100
    assert lower <= fit.corrected(low) + 1e-9
    assert upper >= fit.corrected(high) - 1e-9


def test_an_index_beyond_the_groups_is_told() -> None:
    fit = fit_calibration(exact_groups(0.0, 1.0))
    assert fit.range_pct == pytest.approx((4.7426, 73.1059))
    assert fit.is_outside(4.0)
    assert fit.is_outside(80.0)
    assert not fit.is_outside(30.0)


def test_a_left_out_group_does_not_see_itself() -> None:
    random = np.random.default_rng(8)
    groups = counted(random, detector(0.9, 0.6, 0.0), groups=8, slide_spread=0.2)
    left_out = leave_one_out(groups)
    bare = groups[0]
    changed = CountedGroup(bare.name, bare.fields, 5, 400, bare.found_positive, bare.found_negative)
    again = leave_one_out([changed, *groups[1:]])
    assert again[0].corrected_pct == left_out[0].corrected_pct
    assert again[1].corrected_pct != left_out[1].corrected_pct


def test_what_cannot_be_calibrated_is_refused_with_the_remedy() -> None:
    line = exact_groups(0.2, 1.0)
    with pytest.raises(AnnotationError, match="5 groups with 20 cells or more; count at least 6"):
        fit_calibration(line[:5])
    alike = [CountedGroup(f"{n}", 1, 200 + n, 800, 180 + n, 800) for n in range(8)]
    with pytest.raises(AnnotationError, match=r"20 to 20.6 % lie too close to tell a line"):
        fit_calibration(alike)
    turned = [
        CountedGroup(g.name, 1, g.manual_positive, g.manual_negative, *counts)
        for g, counts in zip(
            line, [(g.found_negative, g.found_positive) for g in line], strict=True
        )
    ]
    with pytest.raises(AnnotationError, match="does not rise with the manual one"):
        fit_calibration(turned)
    with pytest.raises(AnnotationError, match=r"slope 0\.2 of the found index"):
        fit_calibration(exact_groups(0.0, 0.2))


def test_groups_are_pooled_and_small_ones_are_put_aside() -> None:
    fields = [
        CountedField("b", "one", 5, 20, 4, 18),
        CountedField("a", "one", 10, 30, 9, 31),
        CountedField("c", "two", 2, 9, 3, 10),
    ]
    used, small = pool_groups(fields)
    assert used == [CountedGroup("one", 2, 15, 50, 13, 49)]
    assert [group.name for group in small] == ["two"]
    assert pool_groups(fields[::-1]) == (used, small)
