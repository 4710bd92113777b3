"""Figures from sums: counts of several fields add up, and every figure is made of the sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.matching import Counts

INDEX_MIN_CELLS = 20
"""Annotated tumour cells a field needs before its labelling index is compared."""

CLASSES = ("positive", "negative")
REPLICATES = 2000
LEAST_GROUPS = 3
"""Groups of fields below which no interval is given: resampling two groups says nothing."""


@dataclass(frozen=True, slots=True)
class FieldFigures:
    """One field's counts; those of several fields add up to the micro figures.

    ``confusion`` is the number of matched pairs (true, found): positive as positive, positive as
    negative, negative as positive, negative as negative. ``classed`` is False where the field or
    the detector knows no classes: then the class figures leave the field out.
    """

    name: str
    group: str
    true_positive: int
    true_negative: int
    found_positive: int
    found_negative: int
    true_all: int
    found_all: int
    other_marked: int
    false_on_other: int
    every: Counts
    positive: Counts
    negative: Counts
    confusion: tuple[int, int, int, int]
    classed: bool

    @property
    def true_index_pct(self) -> float | None:
        """Share of positive cells in percent, None without a classed cell."""
        return _share(self.true_positive, self.true_negative) if self.classed else None

    @property
    def found_index_pct(self) -> float | None:
        """Share of positive cells among those found, None without one."""
        return _share(self.found_positive, self.found_negative) if self.classed else None

    @property
    def index_error_pct(self) -> float | None:
        """Found index less the annotated one, in points; None with under 20 annotated cells."""
        true, found = self.true_index_pct, self.found_index_pct
        if self.true_positive + self.true_negative < INDEX_MIN_CELLS:
            return None
        return None if true is None or found is None else found - true


def field_sums(row: FieldFigures) -> dict[str, float]:
    """What a field adds to the sums, by name."""
    sums: dict[str, float] = {"fields": 1}
    counts = {"all": row.every, "positive": row.positive, "negative": row.negative}
    counts["labelled"] = row.positive + row.negative
    for name, count in counts.items():
        sums |= {f"hits_{name}": count.hits, f"false_{name}": count.false}
        sums[f"missed_{name}"] = count.missed
    error = row.found_all - row.true_all
    sums |= {"count_absolute": abs(error), "count_squared": error**2, "count_error": error}
    classed = float(row.classed)
    sums["classed_fields"] = classed
    for name in CLASSES:
        true, found = getattr(row, f"true_{name}"), getattr(row, f"found_{name}")
        sums |= {f"true_{name}": true, f"found_{name}": found}
        sums[f"count_absolute_{name}"] = classed * abs(found - true)
    index = row.index_error_pct
    sums["index_fields"] = float(index is not None)
    sums |= {"index_absolute": abs(index or 0.0), "index_error": index or 0.0}
    return sums


def figures_of(sums: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Every figure of one or many sets of sums; NaN where it is undefined.

    Parameters
    ----------
    sums
        Name -> float64 of any one shape, see ``field_sums``.
    """
    figures = {}
    for name in ("all", *CLASSES, "labelled"):
        hits, false, missed = (sums[f"{part}_{name}"] for part in ("hits", "false", "missed"))
        figures[f"f1_{name}"] = _ratio(2 * hits, 2 * hits + false + missed)
        figures[f"precision_{name}"] = _ratio(hits, hits + false)
        figures[f"recall_{name}"] = _ratio(hits, hits + missed)
    figures["f1_average"] = (figures["f1_positive"] + figures["f1_negative"]) / 2
    figures["count_mae"] = _ratio(sums["count_absolute"], sums["fields"])
    figures["count_rmse"] = np.sqrt(_ratio(sums["count_squared"], sums["fields"]))
    figures["count_bias"] = _ratio(sums["count_error"], sums["fields"])
    for name in CLASSES:
        figures[f"count_mae_{name}"] = _ratio(
            sums[f"count_absolute_{name}"], sums["classed_fields"]
        )
    figures["index_mae_pct"] = _ratio(sums["index_absolute"], sums["index_fields"])
    figures["index_bias_pct"] = _ratio(sums["index_error"], sums["index_fields"])
    for name, kind in (("index_true_pct", "true"), ("index_found_pct", "found")):
        positive, negative = (sums[f"{kind}_{label}"] for label in CLASSES)
        classed = np.where(sums["classed_fields"] > 0, 100 * positive, np.nan)
        figures[name] = _ratio(classed, positive + negative)
    return figures


def total_figures(rows: Sequence[FieldFigures]) -> dict[str, float | None]:
    """Figures of all fields together, six decimals; None where one is undefined."""
    table = [field_sums(row) for row in rows]
    totals = {name: np.float64(sum(row[name] for row in table)) for name in table[0]}
    values = figures_of({name: np.asarray(value) for name, value in totals.items()})
    return {name: rounded(float(value)) for name, value in values.items()}


def interval95(
    rows: Sequence[FieldFigures], *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, tuple[float, float] | None] | None:
    """Bootstrap intervals: groups of fields are drawn with replacement, fields of one together.

    Returns
    -------
    dict
        Figure -> 2.5th and 97.5th percentile, None where a replicate left it undefined; None
        instead of all with fewer than three groups.
    """
    groups = list(dict.fromkeys(row.group for row in rows))
    if len(groups) < LEAST_GROUPS:
        return None
    table = [field_sums(row) for row in rows]
    member = np.array([groups.index(row.group) for row in rows])
    drawn = np.random.default_rng(seed).multinomial(
        len(groups), np.full(len(groups), 1 / len(groups)), size=replicates
    )
    sums: dict[str, NDArray[np.float64]] = {
        name: drawn.astype(np.float64)
        @ np.bincount(member, weights=[row[name] for row in table], minlength=len(groups))
        for name in table[0]
    }
    return {name: _percentiles(values) for name, values in figures_of(sums).items()}


def rounded(value: float | None) -> float | None:
    """Six decimals; None for what is undefined."""
    return None if value is None or np.isnan(value) else round(value, 6)


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float] | None:
    if np.isnan(values).any():
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return round(float(low), 6), round(float(high), 6)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _share(positive: int, negative: int) -> float | None:
    total = positive + negative
    return 100 * positive / total if total else None
