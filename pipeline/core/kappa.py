"""Agreement in categories: the table of two raters at cut-offs, and (weighted) kappa."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.category import Scheme
from pipeline.core.reliability import Estimate, too_few, undefined, without_interval
from pipeline.core.scoring import Z95

Weighting = Literal["linear", "quadratic"]


def category_numbers(values_pct: NDArray[np.float64], scheme: Scheme) -> NDArray[np.intp]:
    """Number the category of each index, 0 for the lowest."""
    number = np.zeros(len(values_pct), np.intp)
    for cutoff, closed_below in zip(scheme.cutoffs, scheme.closed_below, strict=True):
        number += values_pct > cutoff if closed_below else values_pct >= cutoff
    return number


def confusion_table(
    first: NDArray[np.intp], second: NDArray[np.intp], categories: int
) -> NDArray[np.int64]:
    """Count slides by category: row = the first rater's, column = the second's."""
    table = np.zeros((categories, categories), np.int64)
    np.add.at(table, (first, second), 1)
    return table


def kappa(table: NDArray[np.int64], weighting: Weighting = "linear") -> Estimate:
    """Cohen's kappa, disagreements weighted by their distance or its square.

    With two categories both weightings are the plain kappa.

    Parameters
    ----------
    table
        ``(categories, categories)`` counts of slides.

    References
    ----------
    Cohen, Psychological Bulletin 70 (1968) 213; the interval: Fleiss, Cohen and Everitt,
    Psychological Bulletin 72 (1969) 323.
    """
    count = int(table.sum())
    if reason := too_few(count):
        return undefined(reason)
    share = table / count
    weight = _agreement_weights(len(table), weighting)
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    observed, expected = float((weight * share).sum()), float(weight.dot(columns).dot(rows))
    if 1 - expected < 1e-12:
        return undefined("both raters put every slide in the same one category")
    value = (observed - expected) / (1 - expected)
    if 1 - observed < 1e-12:
        return without_interval(1.0, "every slide agrees: the interval is undefined")
    away = weight - (weight.dot(columns)[:, None] + rows.dot(weight)[None, :]) * (1 - value)
    variance = float((share * away**2).sum()) - (value - expected * (1 - value)) ** 2
    if variance <= 1e-15:
        return without_interval(value, "one rater has one category only: the interval is undefined")
    half = Z95 * math.sqrt(variance / count) / (1 - expected)
    return Estimate(value, (max(-1.0, value - half), min(1.0, value + half)))


def _agreement_weights(categories: int, weighting: Weighting) -> NDArray[np.float64]:
    place = np.arange(categories, dtype=np.float64)
    distance = np.abs(place[:, None] - place[None, :]) / max(1, categories - 1)
    return 1 - (distance if weighting == "linear" else distance**2)
