"""Correct the labelling index by manual counts of the same fields: errors in both, few parameters.

On the logit scale the found index is a straight line of the manual one,
``logit(found) = logit(manual) + shift`` where cells of one class are missed more often than those
of the other (the shift is the logarithm of the ratio of the recalls, exactly), and a slope below 1
where classes are confused. Both counts err, so the line is fitted by Deming's regression with
equal errors, each group of fields weighted by its cells; shift and slope are drawn towards "no
correction" the more, the less the groups tell about them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pipeline.core.calibration import Calibration
from pipeline.core.scoring import wilson95
from pipeline.errors import AnnotationError

MIN_GROUPS = 6
"""A line and its spread cannot be told from fewer independent groups."""
MIN_CELLS = 20
"""Of a group, counted by hand as well as found."""
MIN_SPAN_LOGIT = 1.0
"""Of the groups' manual indices: 10 % to 23 %, or 40 % to 64 %."""
SLOPE_RANGE = (1 / 3, 3.0)
"""A found index that follows the manual one less or more steeply is no matter of correction."""
GROUP_SPREAD_LOGIT = 0.3
"""Assumed when groups are weighted: how far groups differ however many cells they have."""
PRIOR_SPREAD = (1.0, 0.25)
"""Standard deviations of shift and log slope among detectors worth correcting."""


@dataclass(frozen=True, slots=True)
class CountedField:
    """One field, or slide, counted by hand and by the pipeline.

    Attributes
    ----------
    group
        Fields of one group (slide, case) are not independent and are left out together.
    """

    name: str
    group: str
    manual_positive: int
    manual_negative: int
    found_positive: int
    found_negative: int


@dataclass(frozen=True, slots=True)
class CountedGroup:
    """The pooled counts of one group's fields."""

    name: str
    fields: int
    manual_positive: int
    manual_negative: int
    found_positive: int
    found_negative: int

    @property
    def manual_pct(self) -> float:
        """Labelling index counted by hand."""
        return 100 * self.manual_positive / (self.manual_positive + self.manual_negative)

    @property
    def found_pct(self) -> float:
        """Labelling index found by the pipeline."""
        return 100 * self.found_positive / (self.found_positive + self.found_negative)


@dataclass(frozen=True, slots=True)
class LeftOutGroup:
    """A group's index, corrected by a calibration that never saw the group."""

    group: str
    manual_pct: float
    found_pct: float
    corrected_pct: float
    interval95: tuple[float, float]


def pool_groups(fields: Sequence[CountedField]) -> tuple[list[CountedGroup], list[CountedGroup]]:
    """Add up the fields of each group.

    Returns
    -------
    tuple
        Groups to be used in the order of their names, and groups with fewer than 20 cells.
    """
    groups = []
    for name, entries in groupby(sorted(fields, key=_by_group), key=lambda field: field.group):
        members = list(entries)
        counts = (
            sum(field.manual_positive for field in members),
            sum(field.manual_negative for field in members),
            sum(field.found_positive for field in members),
            sum(field.found_negative for field in members),
        )
        groups.append(CountedGroup(name, len(members), *counts))
    return [g for g in groups if not _is_small(g)], [g for g in groups if _is_small(g)]


def fit_calibration(groups: Sequence[CountedGroup]) -> Calibration:
    """Fit the correction.

    Raises
    ------
    AnnotationError
        The groups are too few, their indices too alike, or the found index does not follow the
        manual one.
    """
    _check_groups(groups)
    return _fit(groups)


def leave_one_out(groups: Sequence[CountedGroup]) -> list[LeftOutGroup]:
    """Correct each group by a calibration fitted to the others."""
    found = []
    for place, group in enumerate(groups):
        calibration = _fit([*groups[:place], *groups[place + 1 :]])
        spread = _percent_interval(group.found_positive, group.found_negative)
        index, interval = calibration.apply(group.found_pct, spread)
        found.append(LeftOutGroup(group.name, group.manual_pct, group.found_pct, index, interval))
    return found


def _fit(groups: Sequence[CountedGroup]) -> Calibration:
    x, y, weight = _logits(groups)
    centre = float(np.average(x, weights=weight))
    line = _line(x, y, weight, centre)
    count = len(groups)
    kept = ~np.eye(count, dtype=np.bool_)
    without = np.array([_line(x[rows], y[rows], weight[rows], centre) for rows in kept])
    away = without - without.mean(axis=0)
    jackknife = (count - 1) / count * away.T @ away
    prior = np.diag(np.square(PRIOR_SPREAD))
    # the precision-weighted mean of "no correction" and the line; holds for a covariance of 0 too
    share = jackknife @ np.linalg.inv(prior + jackknife)
    shift, log_slope = line - share @ line
    covariance = jackknife - share @ jackknife
    residual = x - (centre + (y - centre - shift) * math.exp(-log_slope))
    spread = float(np.average(residual**2, weights=weight)) * count / (count - 2)
    both = float(covariance[0, 1] + covariance[1, 0]) / 2
    found = [group.found_pct for group in groups]
    return Calibration(
        centre_logit=centre,
        shift_logit=float(shift),
        log_slope=float(log_slope),
        covariance=((float(covariance[0, 0]), both), (both, float(covariance[1, 1]))),
        spread_logit=math.sqrt(spread),
        groups=count,
        fields=sum(group.fields for group in groups),
        range_pct=(min(found), max(found)),
    )


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64], centre: float
) -> NDArray[np.float64]:
    """Return shift at the centre and log slope of the weighted Deming line."""
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    xx = float((weight * (x - mean_x) * (x - mean_x)).sum())
    yy = float((weight * (y - mean_y) * (y - mean_y)).sum())
    xy = float((weight * (x - mean_x) * (y - mean_y)).sum())
    if xy <= 0:
        raise AnnotationError("the found index does not rise with the manual one; check the counts")
    slope = (yy - xx + math.sqrt((yy - xx) ** 2 + 4 * xy**2)) / (2 * xy)
    return np.array([mean_y + slope * (centre - mean_x) - centre, math.log(slope)])


def _check_groups(groups: Sequence[CountedGroup]) -> None:
    if len(groups) < MIN_GROUPS:
        raise AnnotationError(
            f"{len(groups)} groups with {MIN_CELLS} cells or more; count at least {MIN_GROUPS} "
            "slides or cases (column group: fields of one slide are one group)"
        )
    x, y, weight = _logits(groups)
    span = float(np.ptp(x))
    if span < MIN_SPAN_LOGIT:
        indices = [group.manual_pct for group in groups]
        raise AnnotationError(
            f"manual indices of {min(indices):.3g} to {max(indices):.3g} % lie too close to tell "
            "a line; add groups of lower and of higher index"
        )
    slope = math.exp(float(_line(x, y, weight, float(x.mean()))[1]))
    if not SLOPE_RANGE[0] <= slope <= SLOPE_RANGE[1]:
        raise AnnotationError(
            f"slope {slope:.3g} of the found index on the manual one is outside "
            f"{SLOPE_RANGE[0]:.2g} to {SLOPE_RANGE[1]:g}; a correction would only hide that this "
            "model does not suit these slides"
        )


def _logits(
    groups: Sequence[CountedGroup],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Manual and found logits and weights; half a cell is added so that 0 of n is finite."""
    manual = np.array([(g.manual_positive, g.manual_negative) for g in groups], np.float64) + 0.5
    found = np.array([(g.found_positive, g.found_negative) for g in groups], np.float64) + 0.5
    # manual counts alone: a weight that follows the found index would bend the line
    variance = GROUP_SPREAD_LOGIT**2 + (1 / manual).sum(axis=1)
    return np.log(manual[:, 0] / manual[:, 1]), np.log(found[:, 0] / found[:, 1]), 1 / variance


def _percent_interval(positive: int, negative: int) -> tuple[float, float]:
    return wilson95(positive, positive + negative) or (0.0, 100.0)


def _by_group(field: CountedField) -> tuple[str, str]:
    return field.group, field.name


def _is_small(group: CountedGroup) -> bool:
    manual = group.manual_positive + group.manual_negative
    return min(manual, group.found_positive + group.found_negative) < MIN_CELLS
