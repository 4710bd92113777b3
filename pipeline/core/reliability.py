"""Coefficients of agreement between ratings of the same slides: ICC, concordance, correlation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.core.scoring import Z95

MIN_SLIDES = 3
"""Fewer rated slides give no coefficient."""
_NO_SPREAD = 1e-12
"""Part of the values' size below which a standard deviation is rounding, not spread."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure that may be undefined.

    Attributes
    ----------
    value
        None where the figure is undefined.
    interval95
        None where it cannot be given.
    reason
        Why ``value`` or ``interval95`` is None; None when both are there.
    """

    value: float | None
    interval95: tuple[float, float] | None = None
    reason: str | None = None


def undefined(reason: str) -> Estimate:
    """Return the estimate that says why there is none."""
    return Estimate(None, None, reason)


def without_interval(value: float, reason: str) -> Estimate:
    """Return a figure whose interval cannot be given, and why."""
    return Estimate(value, None, reason)


def too_few(count: int) -> str | None:
    """Say that slides are missing for a coefficient; None when there are enough."""
    return f"{count} slides; at least {MIN_SLIDES} are needed" if count < MIN_SLIDES else None


def is_constant(values: NDArray[np.float64]) -> bool:
    """Whether all values are one, up to rounding."""
    if values.size == 0:
        return True
    return float(np.ptp(values)) <= _NO_SPREAD * max(1.0, float(np.abs(values).max()))


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Two-way analysis of variance without repeats: slides by raters."""

    slides: float
    raters: float
    residual: float
    slide_count: int
    rater_count: int


def mean_squares(ratings: NDArray[np.float64]) -> MeanSquares:
    """Split the variance of ``(slides, raters)`` ratings; a residual of pure rounding is 0."""
    count, raters = ratings.shape
    grand = ratings.mean()
    by_slide, by_rater = ratings.mean(axis=1), ratings.mean(axis=0)
    residual = ratings - by_slide[:, None] - by_rater[None, :] + grand
    rounding = (_NO_SPREAD * max(1.0, float(np.abs(ratings).max()))) ** 2
    parts = (
        raters * float(((by_slide - grand) ** 2).sum()) / (count - 1),
        count * float(((by_rater - grand) ** 2).sum()) / (raters - 1),
        float((residual**2).sum()) / ((count - 1) * (raters - 1)),
    )
    slides, between, rest = (0.0 if part <= rounding else part for part in parts)
    return MeanSquares(slides, between, rest, count, raters)


def icc_agreement(ratings: NDArray[np.float64]) -> Estimate:
    """ICC(2,1): two-way random effects, absolute agreement, single rater.

    A rater who is always 5 points higher lowers it.

    Parameters
    ----------
    ratings
        ``(slides, raters)``, finite.

    References
    ----------
    Shrout and Fleiss, Psychological Bulletin 86 (1979) 420; McGraw and Wong, Psychological
    Methods 1 (1996) 30.
    """
    if reason := _no_icc(ratings):
        return undefined(reason)
    ms = mean_squares(ratings)
    n, k = ms.slide_count, ms.rater_count
    below = ms.slides + (k - 1) * ms.residual + k * (ms.raters - ms.residual) / n
    value = (ms.slides - ms.residual) / below
    if ms.residual == 0:
        return without_interval(value, "the ratings differ by a constant only: no residual spread")
    ratio = ms.raters / ms.residual
    spread = n * (1 + (k - 1) * value) - k * value
    freedom = (
        (k - 1)
        * (n - 1)
        * (k * value * ratio + spread) ** 2
        / ((n - 1) * (k * value * ratio) ** 2 + spread**2)
    )
    upper = float(stats.f.ppf(0.975, n - 1, freedom))
    lower = float(stats.f.ppf(0.975, freedom, n - 1))
    rest = k * ms.raters + (k * n - k - n) * ms.residual
    low = n * (ms.slides - upper * ms.residual) / (upper * rest + n * ms.slides)
    high = n * (lower * ms.slides - ms.residual) / (rest + n * lower * ms.slides)
    return _with_interval(value, low, high)


def icc_consistency(ratings: NDArray[np.float64]) -> Estimate:
    """ICC(3,1): two-way mixed effects, consistency, single rater.

    A rater who is always 5 points higher does not change it.

    Parameters
    ----------
    ratings
        ``(slides, raters)``, finite.
    """
    if reason := _no_icc(ratings):
        return undefined(reason)
    ms = mean_squares(ratings)
    n, k = ms.slide_count, ms.rater_count
    value = (ms.slides - ms.residual) / (ms.slides + (k - 1) * ms.residual)
    if ms.residual == 0:
        return without_interval(value, "the ratings differ by a constant only: no residual spread")
    ratio, rest = ms.slides / ms.residual, (n - 1) * (k - 1)
    low = ratio / float(stats.f.ppf(0.975, n - 1, rest))
    high = ratio * float(stats.f.ppf(0.975, rest, n - 1))
    return _with_interval(value, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1))


def concordance(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """Lin's concordance correlation coefficient, its interval by Fisher's z.

    References
    ----------
    Lin, Biometrics 45 (1989) 255, with the correction in Biometrics 56 (2000) 324.
    """
    if reason := too_few(len(x)):
        return undefined(reason)
    if is_constant(x) and is_constant(y):
        return undefined("neither rater's values vary")
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    shift = float(x.mean() - y.mean())
    value = 2 * covariance / (float(x.var()) + float(y.var()) + shift**2)
    if is_constant(x) or is_constant(y):
        return without_interval(0.0, "one rater's values do not vary")
    correlation = covariance / math.sqrt(float(x.var()) * float(y.var()))
    squared = shift**2 / math.sqrt(float(x.var()) * float(y.var()))
    if 1 - abs(value) < _NO_SPREAD or abs(correlation) < _NO_SPREAD:
        return without_interval(value, "the interval is undefined at a coefficient of -1, 0 or 1")
    variance = (
        (1 - correlation**2) * value**2 * (1 - value**2) / correlation**2
        + 2 * value**3 * (1 - value) * squared / correlation
        - value**4 * squared**2 / (2 * correlation**2)
    ) / (len(x) - 2)
    half = Z95 * math.sqrt(max(variance, 0.0)) / (1 - value**2)
    return _fisher(value, half)


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """Pearson's correlation, its interval by Fisher's z; it does not see a bias."""
    if reason := _no_correlation(x, y):
        return undefined(reason)
    value = float(np.clip(stats.pearsonr(x, y).statistic, -1.0, 1.0))
    return _correlation(value, len(x), 1.0)


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """Spearman's rank correlation, its interval after Bonett and Wright (2000)."""
    if reason := _no_correlation(x, y):
        return undefined(reason)
    # rounding of the arithmetic must not part equal values
    ranks = stats.spearmanr(np.round(x, 9), np.round(y, 9)).statistic
    value = float(np.clip(ranks, -1.0, 1.0))
    return _correlation(value, len(x), math.sqrt(1 + value**2 / 2))


def _correlation(value: float, count: int, widening: float) -> Estimate:
    if 1 - abs(value) < _NO_SPREAD:
        return without_interval(round(value), "the interval is undefined at a correlation of 1")
    if count < MIN_SLIDES + 1:
        return without_interval(value, f"{count} slides; an interval needs {MIN_SLIDES + 1}")
    return _fisher(value, Z95 * widening / math.sqrt(count - 3))


def _fisher(value: float, half: float) -> Estimate:
    centre = math.atanh(value)
    return Estimate(value, (math.tanh(centre - half), math.tanh(centre + half)))


def _with_interval(value: float, low: float, high: float) -> Estimate:
    if not all(map(math.isfinite, (low, high))):
        return without_interval(value, "the interval cannot be computed from so little spread")
    return Estimate(value, (low, high))


def _no_icc(ratings: NDArray[np.float64]) -> str | None:
    if reason := too_few(len(ratings)):
        return reason
    if is_constant(ratings.mean(axis=1)) and is_constant(ratings - ratings.mean(axis=0)):
        return "the slides do not differ: every rater gives one value"
    return None


def _no_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> str | None:
    if reason := too_few(len(x)):
        return reason
    if is_constant(x) or is_constant(y):
        return "one rater's values do not vary"
    return None
