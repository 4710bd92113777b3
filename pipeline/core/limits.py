"""Bland and Altman's comparison of two raters: bias, limits of agreement, proportional bias."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.core.reliability import (
    Estimate,
    is_constant,
    spearman,
    too_few,
    undefined,
    without_interval,
)
from pipeline.core.scoring import Z95


@dataclass(frozen=True, slots=True)
class Limits:
    """How far two raters lie apart, in percentage points, first minus second.

    Attributes
    ----------
    bias
        Mean difference, with its interval.
    spread_points
        Standard deviation of the differences.
    lower, upper
        Limits of agreement: between them lie 95 % of the differences.
    slope
        Change of the difference per point of the two raters' mean: proportional bias.
    slope_p
        Of the hypothesis that the slope is 0.
    widening
        Spearman's correlation of the size of the difference with the mean: whether the limits,
        one width for all, are too wide at low and too narrow at high indices.
    """

    bias: Estimate
    spread_points: float | None
    lower: Estimate
    upper: Estimate
    slope: Estimate
    slope_p: float | None
    widening: Estimate


def bland_altman(first: NDArray[np.float64], second: NDArray[np.float64]) -> Limits:
    """Compare two raters of the same slides.

    The limits are mean +- 1.96 SD; their intervals take t quantiles and the standard error
    SD sqrt(1/n + 1.96^2 / (2 (n - 1))).

    Parameters
    ----------
    first, second
        Indices in percent, finite, of one length.

    References
    ----------
    Bland and Altman, Lancet 327 (1986) 307; Statistical Methods in Medical Research 8 (1999) 135.
    """
    difference, mean = first - second, (first + second) / 2
    count = len(difference)
    if reason := too_few(count):
        none = undefined(reason)
        return Limits(none, None, none, none, none, None, none)
    bias, spread = float(difference.mean()), float(difference.std(ddof=1))
    if is_constant(difference):
        reason = "every slide has the same difference"
        same = without_interval(bias, reason)
        return Limits(same, 0.0, same, same, undefined(reason), None, undefined(reason))
    quantile = float(stats.t.ppf(0.975, count - 1))
    half = quantile * spread / math.sqrt(count)
    wide = quantile * spread * math.sqrt(1 / count + Z95**2 / (2 * (count - 1)))
    ends = [bias - Z95 * spread, bias + Z95 * spread]
    lower, upper = (Estimate(end, (end - wide, end + wide)) for end in ends)
    slope, slope_p = _slope(mean, difference)
    return Limits(
        bias=Estimate(bias, (bias - half, bias + half)),
        spread_points=spread,
        lower=lower,
        upper=upper,
        slope=slope,
        slope_p=slope_p,
        widening=spearman(mean, np.abs(difference - bias)),
    )


def _slope(
    mean: NDArray[np.float64], difference: NDArray[np.float64]
) -> tuple[Estimate, float | None]:
    if is_constant(mean):
        return undefined("the slides' means do not differ"), None
    fit = stats.linregress(mean, difference)
    slope, error = float(fit.slope), float(fit.stderr)
    if not math.isfinite(error) or error <= 1e-12 * max(1.0, abs(slope)):
        return without_interval(slope, "the differences lie on one line"), None
    half = float(stats.t.ppf(0.975, len(mean) - 2)) * error
    return Estimate(slope, (slope - half, slope + half)), float(fit.pvalue)
