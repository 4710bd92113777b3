"""Figures of found cells against annotated ones, field by field and all together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.matching import Counts, count_matches, match
from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError
from pipeline.train.fields import UNCLASSED, Field

MATCH_RADII_UM = (3.125, 1.5625)
"""10 and 5 px of the paper's 512-pixel frame (0.3125 um/px)."""
CONFUSION_NAMES = (
    "positive_as_positive",
    "positive_as_negative",
    "negative_as_positive",
    "negative_as_negative",
)
INDEX_MIN_CELLS = 20
"""Annotated cells a field needs before its labelling index is compared."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundCells:
    """Cells found on one field.

    Attributes
    ----------
    x_px, y_px
        float64 continuous coordinates in the field's pixels.
    label
        uint8, 1 positive, 0 negative.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    label: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FieldFigures:
    """One field's counts; those of several fields add up to the micro figures.

    ``confusion`` is the number of matched pairs (true, found): positive as positive, positive as
    negative, negative as positive, negative as negative.
    """

    name: str
    group: str
    true_positive: int
    true_negative: int
    found_positive: int
    found_negative: int
    true_all: int
    every: Counts
    positive: Counts
    negative: Counts
    confusion: tuple[int, int, int, int]

    @property
    def true_index_pct(self) -> float | None:
        """Share of positive cells in percent, None without a classed cell."""
        return _index(self.true_positive, self.true_negative)

    @property
    def found_index_pct(self) -> float | None:
        """Share of positive cells among those found, None without one."""
        return _index(self.found_positive, self.found_negative)


def score_field(field: Field, found: FoundCells, *, radius_um: float) -> FieldFigures:
    """Compare the cells found on a field with its annotation; both are in the field's pixels."""
    true_xy = np.column_stack([field.x_px, field.y_px]) * field.mpp_um
    found_xy = np.column_stack([found.x_px, found.y_px]) * field.mpp_um
    by_class = [
        count_matches(found_xy[found.label == label], true_xy[field.label == label], radius_um)
        for label in (POSITIVE, NEGATIVE)
    ]
    pairs = match(found_xy, true_xy, radius_um)
    told, said = field.label[pairs[:, 1]], found.label[pairs[:, 0]]
    confusion = [
        int(np.count_nonzero((told == true) & (said == call)))
        for true in (POSITIVE, NEGATIVE)
        for call in (POSITIVE, NEGATIVE)
    ]
    hits = len(pairs)
    return FieldFigures(
        name=field.name,
        group=field.group,
        true_positive=int(np.count_nonzero(field.label == POSITIVE)),
        true_negative=int(np.count_nonzero(field.label == NEGATIVE)),
        found_positive=int(np.count_nonzero(found.label == POSITIVE)),
        found_negative=int(np.count_nonzero(found.label == NEGATIVE)),
        true_all=len(field.label),
        every=Counts(hits, len(found_xy) - hits, len(true_xy) - hits),
        positive=by_class[0],
        negative=by_class[1],
        confusion=(confusion[0], confusion[1], confusion[2], confusion[3]),
    )


def evaluate_points(
    fields: Sequence[Field], found: Sequence[FoundCells], *, radius_um: float
) -> dict[str, Any]:
    """Figures of several fields together, ready for JSON.

    Returns
    -------
    dict
        ``f1_all`` (labels left aside), ``f1_positive``, ``f1_negative``, ``f1_labelled`` (both
        classes' counts added), their precision and recall, count errors per field, errors of the
        labelling index in percentage points over fields with 20 annotated cells or more, the
        confusion of matched cells, and a list of fields. A figure that is undefined is None.

    Raises
    ------
    AnnotationError
        Without a field, or with fields and results of different number.
    """
    if not fields or len(fields) != len(found):
        raise AnnotationError(f"{len(fields)} fields and {len(found)} results cannot be compared")
    rows = [
        score_field(field, cells, radius_um=radius_um)
        for field, cells in zip(fields, found, strict=True)
    ]
    return summarize(rows, radius_um=radius_um)


def summarize(rows: Sequence[FieldFigures], *, radius_um: float) -> dict[str, Any]:
    """Micro figures and errors of several fields; see ``evaluate_points``."""
    counts = {
        "all": _total([row.every for row in rows]),
        "positive": _total([row.positive for row in rows]),
        "negative": _total([row.negative for row in rows]),
    }
    counts["labelled"] = counts["positive"] + counts["negative"]
    figures: dict[str, Any] = {"match_radius_um": radius_um, "fields": len(rows)}
    for name, total in counts.items():
        figures[f"f1_{name}"] = _rounded(total.f1)
        figures[f"precision_{name}"] = _rounded(total.precision)
        figures[f"recall_{name}"] = _rounded(total.recall)
    figures["cells"] = {
        "true_positive": sum(row.true_positive for row in rows),
        "true_negative": sum(row.true_negative for row in rows),
        "found_positive": sum(row.found_positive for row in rows),
        "found_negative": sum(row.found_negative for row in rows),
    }
    figures |= _count_errors(rows) | _index_errors(rows)
    confusion = np.sum([row.confusion for row in rows], axis=0)
    figures["confusion"] = dict(zip(CONFUSION_NAMES, map(int, confusion), strict=True))
    figures["per_field"] = [_field_row(row) for row in rows]
    return figures


def _count_errors(rows: Sequence[FieldFigures]) -> dict[str, float | None]:
    found = np.array([row.found_positive + row.found_negative for row in rows], np.float64)
    error = found - np.array([row.true_all for row in rows], np.float64)
    return {
        "count_mae": _rounded(float(np.abs(error).mean())),
        "count_rmse": _rounded(float(np.sqrt((error**2).mean()))),
    }


def _index_errors(rows: Sequence[FieldFigures]) -> dict[str, float | int | None]:
    errors = []
    for row in rows:
        true, found = row.true_index_pct, row.found_index_pct
        enough = row.true_positive + row.true_negative >= INDEX_MIN_CELLS
        if enough and true is not None and found is not None:
            errors.append(found - true)
    pooled_true = _index(sum(r.true_positive for r in rows), sum(r.true_negative for r in rows))
    pooled = _index(sum(r.found_positive for r in rows), sum(r.found_negative for r in rows))
    return {
        "index_fields": len(errors),
        "index_mae_pct": _rounded(float(np.mean(np.abs(errors)))) if errors else None,
        "index_bias_pct": _rounded(float(np.mean(errors))) if errors else None,
        "index_true_pct": _rounded(pooled_true),
        "index_found_pct": _rounded(pooled),
    }


def _field_row(row: FieldFigures) -> dict[str, Any]:
    kept = ("name", "group", "true_positive", "true_negative", "found_positive", "found_negative")
    values = asdict(row)
    return {key: values[key] for key in kept} | {
        "f1_all": _rounded(row.every.f1),
        "f1_labelled": _rounded((row.positive + row.negative).f1),
        "true_index_pct": _rounded(row.true_index_pct),
        "found_index_pct": _rounded(row.found_index_pct),
    }


def unclassed(fields: Sequence[Field]) -> bool:
    """Whether some cell has no class, so that only figures without labels have a meaning."""
    return any(bool((field.label == UNCLASSED).any()) for field in fields)


def _total(counts: Sequence[Counts]) -> Counts:
    return sum(counts, Counts())


def _index(positive: int, negative: int) -> float | None:
    total = positive + negative
    return 100 * positive / total if total else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
