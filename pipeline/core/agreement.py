"""Agreement of two or more raters of the labelling index: every figure, or why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.core.category import Scheme
from pipeline.core.kappa import category_numbers, confusion_table, kappa
from pipeline.core.limits import Limits, bland_altman
from pipeline.core.reliability import (
    Estimate,
    concordance,
    icc_agreement,
    icc_consistency,
    pearson,
    spearman,
)
from pipeline.core.scoring import wilson95

CUTOFFS_PCT = (5.0, 10.0, 14.0, 20.0, 30.0)
"""Cut-offs that guidelines have used for breast cancer; a choice, not a recommendation."""
RELATIVE_MARGIN = 0.2
POINTS_MARGIN = 5.0
AJCP_CORRELATION, AJCP_SHARE_PCT = 0.9, 80.0
"""Proposed for image analysis: r above 0.9 and more than 80 % of cases within +-20 % relative."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Share:
    """Some of n slides, in percent with Wilson's interval; None without a slide."""

    count: int
    pct: float | None
    wilson95: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Closeness:
    """Distances of the first rater from the second, in percentage points.

    ``within_relative``: at most 20 % of the second rater's value away; ``within_points``: at most
    5 points away.
    """

    mean_absolute_points: float | None
    median_absolute_points: float | None
    root_mean_square_points: float | None
    within_relative: Share
    within_points: Share


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """Agreement in the categories between cut-offs.

    Attributes
    ----------
    scheme
        Name of the set of cut-offs.
    labels
        Of the categories, one more than cut-offs.
    table
        Slides by category: rows are the first rater's, columns the second's.
    """

    scheme: str
    cutoffs_pct: tuple[float, ...]
    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    same: Share
    kappa_linear: Estimate
    kappa_quadratic: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two raters of the same slides; differences are first minus second.

    Attributes
    ----------
    slides
        Places of the slides that both rated.
    ajcp_met
        Whether r > 0.9 and more than 80 % of slides are within +-20 %; None where undefined.
    by_cutoff
        One two-by-two comparison per cut-off.
    by_scheme
        The whole ladder of cut-offs, and configured schemes.
    """

    first: str
    second: str
    slides: NDArray[np.intp]
    first_pct: NDArray[np.float64]
    second_pct: NDArray[np.float64]
    icc_agreement: Estimate
    icc_consistency: Estimate
    concordance: Estimate
    pearson: Estimate
    spearman: Estimate
    limits: Limits
    closeness: Closeness
    ajcp_met: bool | None
    by_cutoff: tuple[CategoryAgreement, ...]
    by_scheme: tuple[CategoryAgreement, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """All raters of a group together, over the slides that each of them rated."""

    raters: tuple[str, ...]
    slides: int
    icc_agreement: Estimate
    icc_consistency: Estimate


def compare(
    first: tuple[str, NDArray[np.float64]],
    second: tuple[str, NDArray[np.float64]],
    *,
    cutoffs_pct: Sequence[float] = CUTOFFS_PCT,
    schemes: Sequence[Scheme] = (),
) -> Comparison:
    """Compare two raters over the slides both rated.

    Parameters
    ----------
    first, second
        Name and indices in percent, one per slide, NaN where the rater gave none. Relative
        distances are relative to ``second``.
    """
    both = np.flatnonzero(np.isfinite(first[1]) & np.isfinite(second[1]))
    x, y = first[1][both], second[1][both]
    ratings = np.column_stack([x, y])
    close, line = closeness(x, y), pearson(x, y)
    ladder = cutoff_scheme("all cut-offs", cutoffs_pct)
    return Comparison(
        first=first[0],
        second=second[0],
        slides=both,
        first_pct=x,
        second_pct=y,
        icc_agreement=icc_agreement(ratings),
        icc_consistency=icc_consistency(ratings),
        concordance=concordance(x, y),
        pearson=line,
        spearman=spearman(x, y),
        limits=bland_altman(x, y),
        closeness=close,
        ajcp_met=_ajcp_met(line, close),
        by_cutoff=tuple(
            in_categories(x, y, cutoff_scheme(f"{cutoff:g} %", [cutoff])) for cutoff in cutoffs_pct
        ),
        by_scheme=tuple(in_categories(x, y, scheme) for scheme in (ladder, *schemes)),
    )


def pairs(readers: Mapping[str, NDArray[np.float64]]) -> list[tuple[str, str]]:
    """Every pair of readers, in the order given."""
    return list(combinations(readers, 2))


def mean_reader(readers: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean of the readers per slide, NaN where one of them gave none."""
    mean: NDArray[np.float64] = np.mean(np.column_stack(list(readers.values())), axis=1)
    return mean


def panel(raters: Mapping[str, NDArray[np.float64]]) -> Panel:
    """Intraclass correlation of two or more raters over the slides that each of them rated."""
    ratings = np.column_stack(list(raters.values()))
    complete = ratings[np.isfinite(ratings).all(axis=1)]
    return Panel(tuple(raters), len(complete), icc_agreement(complete), icc_consistency(complete))


def closeness(x: NDArray[np.float64], y: NDArray[np.float64]) -> Closeness:
    """Tell how near ``x`` is to the reference ``y``; a reference of 0 is met by 0 only."""
    distance = np.abs(x - y)
    size = len(distance)
    return Closeness(
        mean_absolute_points=float(distance.mean()) if size else None,
        median_absolute_points=float(np.median(distance)) if size else None,
        root_mean_square_points=float(np.sqrt((distance**2).mean())) if size else None,
        within_relative=_share(distance <= RELATIVE_MARGIN * y + _ROUNDING),
        within_points=_share(distance <= POINTS_MARGIN + _ROUNDING),
    )


def in_categories(
    x: NDArray[np.float64], y: NDArray[np.float64], scheme: Scheme
) -> CategoryAgreement:
    """Compare two raters in the categories of a scheme."""
    numbers = [category_numbers(values, scheme) for values in (x, y)]
    table = confusion_table(numbers[0], numbers[1], len(scheme.labels))
    return CategoryAgreement(
        scheme=scheme.name,
        cutoffs_pct=scheme.cutoffs,
        labels=scheme.labels,
        table=tuple(tuple(int(count) for count in row) for row in table),
        same=_share(numbers[0] == numbers[1]),
        kappa_linear=kappa(table, "linear"),
        kappa_quadratic=kappa(table, "quadratic"),
    )


def cutoff_scheme(name: str, cutoffs_pct: Sequence[float]) -> Scheme:
    """Make a scheme of plain cut-offs, labelled by their ranges; one on a cut-off is above it."""
    inner = [f"{low:g} to <{high:g}" for low, high in pairwise(cutoffs_pct)]
    labels = (f"<{cutoffs_pct[0]:g}", *inner, f">={cutoffs_pct[-1]:g}")
    return Scheme(name, labels, tuple(cutoffs_pct), (False,) * len(cutoffs_pct))


def _share(hit: NDArray[np.bool_]) -> Share:
    count, size = int(np.count_nonzero(hit)), len(hit)
    return Share(count, 100.0 * count / size if size else None, wilson95(count, size))


def _ajcp_met(line: Estimate, close: Closeness) -> bool | None:
    share = close.within_relative.pct
    if line.value is None or share is None:
        return None
    return line.value > AJCP_CORRELATION and share > AJCP_SHARE_PCT
