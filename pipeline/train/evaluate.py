"""Figures of found cells against annotated ones, field by field and all together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.matching import Counts, count_matches, match
from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError
from pipeline.train.fields import FRAME_PX, Field
from pipeline.train.figures import FieldFigures, interval95, rounded, total_figures

MATCH_RADII_UM = (3.125, 1.5625)
"""10 and 5 px of the paper's 512-pixel frame at BCData's resolution there (0.3125 um/px)."""
FRAME_RADII_PX = (10.0, 5.0)
"""The published radii, in an image scaled to 512 x 512 pixels whatever its resolution."""
CONFUSION_NAMES = (
    "positive_as_positive",
    "positive_as_negative",
    "negative_as_positive",
    "negative_as_negative",
)
_ROW_KEYS = (
    *("name", "group", "true_positive", "true_negative", "found_positive", "found_negative"),
    *("true_all", "found_all", "other_marked", "false_on_other"),
)


@dataclass(frozen=True, slots=True)
class Criterion:
    """Within which distance, included, a found and an annotated cell may be one.

    ``um``: micrometres. ``px512``: pixels of the field scaled to 512 x 512, as published.
    """

    radius: float
    frame: Literal["um", "px512"] = "um"

    @property
    def key(self) -> str:
        """Name of its figures in files."""
        return f"at_{self.radius:g}_{self.frame}"

    def placed(self, of: Field, x_px: NDArray[Any], y_px: NDArray[Any]) -> NDArray[np.float64]:
        """Points of a field's pixels in the criterion's frame, ``(N, 2)``."""
        xy_px = np.column_stack([x_px, y_px]).astype(np.float64)
        if self.frame == "um":
            return xy_px * of.mpp_um
        height, width = of.image.shape[:2]
        return np.asarray(xy_px * FRAME_PX / (width, height))


CRITERIA = (
    *(Criterion(radius) for radius in MATCH_RADII_UM),
    *(Criterion(radius, "px512") for radius in FRAME_RADII_PX),
)


@dataclass(frozen=True, slots=True, eq=False)
class FoundCells:
    """Cells found on one field.

    Attributes
    ----------
    x_px, y_px
        float64 continuous coordinates in the field's pixels.
    label
        uint8, 1 positive, 0 negative, 255 where the detector knows no classes.
    score
        float32, NaN where the detector gives none.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    label: NDArray[np.uint8]
    score: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def reaching(self, threshold: float | None) -> "FoundCells":
        """The cells whose score reaches a threshold; all of them without one."""
        if threshold is None or not len(self.score):
            return self
        kept = np.flatnonzero(self.score >= np.float32(threshold))
        return FoundCells(self.x_px[kept], self.y_px[kept], self.label[kept], self.score[kept])


def score_field(
    of: Field, found: FoundCells, *, criterion: Criterion, classed: bool = True
) -> FieldFigures:
    """Compare the cells found on a field with its annotation; both are in the field's pixels.

    Parameters
    ----------
    classed
        False where the detector knows no classes.
    """
    radius = criterion.radius
    true_xy = criterion.placed(of, of.x_px, of.y_px)
    found_xy = criterion.placed(of, found.x_px, found.y_px)
    classed = classed and of.classed
    by_class = [
        count_matches(found_xy[found.label == label], true_xy[of.label == label], radius)
        if classed
        else Counts()
        for label in (POSITIVE, NEGATIVE)
    ]
    pairs = match(found_xy, true_xy, radius)
    false = np.setdiff1d(np.arange(len(found_xy)), pairs[:, 0])
    other_xy = criterion.placed(of, of.other_xy_px[:, 0], of.other_xy_px[:, 1])
    hits = len(pairs)
    return FieldFigures(
        name=of.name,
        group=of.group,
        true_positive=int(np.count_nonzero(of.label == POSITIVE)),
        true_negative=int(np.count_nonzero(of.label == NEGATIVE)),
        found_positive=int(np.count_nonzero(found.label == POSITIVE)),
        found_negative=int(np.count_nonzero(found.label == NEGATIVE)),
        true_all=len(of.label),
        found_all=len(found.label),
        other_marked=len(other_xy),
        false_on_other=len(match(found_xy[false], other_xy, radius)),
        every=Counts(hits, len(found_xy) - hits, len(true_xy) - hits),
        positive=by_class[0],
        negative=by_class[1],
        confusion=_confusion(of.label[pairs[:, 1]], found.label[pairs[:, 0]]),
        classed=classed,
    )


def evaluate_points(
    fields: Sequence[Field],
    found: Sequence[FoundCells],
    *,
    radius_um: float,
    classed: bool = True,
) -> dict[str, Any]:
    """Figures of several fields together within a radius in micrometres; see ``summarize``."""
    criterion = Criterion(radius_um)
    return summarize(compare(fields, found, criterion=criterion, classed=classed), criterion)


def compare(
    fields: Sequence[Field],
    found: Sequence[FoundCells],
    *,
    criterion: Criterion,
    classed: bool = True,
) -> list[FieldFigures]:
    """Counts of each field.

    Raises
    ------
    AnnotationError
        Without a field, or with fields and results of different number.
    """
    if not fields or len(fields) != len(found):
        raise AnnotationError(f"{len(fields)} fields and {len(found)} results cannot be compared")
    return [
        score_field(of, cells, criterion=criterion, classed=classed)
        for of, cells in zip(fields, found, strict=True)
    ]


def summarize(rows: Sequence[FieldFigures], criterion: Criterion) -> dict[str, Any]:
    """Micro figures and errors of several fields, ready for JSON.

    Returns
    -------
    dict
        ``f1_all`` (labels left aside), ``f1_positive``, ``f1_negative``, ``f1_labelled`` (both
        classes' counts added), ``f1_average`` (mean of the two), their precision and recall, count
        errors per field, errors of the labelling index in percentage points over fields with 20
        annotated cells or more, the confusion of matched cells, false cells on cells marked as no
        tumour cells, and a list of fields. A figure that is undefined is None.
    """
    unit = "um" if criterion.frame == "um" else "px512"
    figures: dict[str, Any] = {f"match_radius_{unit}": criterion.radius, "fields": len(rows)}
    figures |= total_figures(rows)
    figures["cells"] = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("true_positive", "true_negative", "found_positive", "found_negative")
    } | {"true_all": sum(row.true_all for row in rows), "found_all": sum(r.found_all for r in rows)}
    figures["index_fields"] = sum(row.index_error_pct is not None for row in rows)
    confusion = np.sum([row.confusion for row in rows], axis=0)
    figures["confusion"] = dict(zip(CONFUSION_NAMES, map(int, confusion), strict=True))
    figures["not_tumour"] = {
        "marked": sum(row.other_marked for row in rows),
        "false_cells_on_them": sum(row.false_on_other for row in rows),
        "false_cells": sum(row.every.false for row in rows),
    }
    figures["per_field"] = [_field_row(row) for row in rows]
    return figures


def full_figures(
    fields: Sequence[Field],
    found: Sequence[FoundCells],
    *,
    criterion: Criterion,
    classed: bool = True,
) -> dict[str, Any]:
    """Figures as ``summarize`` gives them, with intervals and with duplicate marks taken out.

    ``interval95`` are bootstrap intervals by group; ``without_duplicates`` the same figures where
    marks in one pixel of the 512-pixel frame count once.
    """
    rows = compare(fields, found, criterion=criterion, classed=classed)
    figures = summarize(rows, criterion)
    figures["groups"] = len({row.group for row in rows})
    figures["interval95"] = interval95(rows)
    figures["without_duplicates"] = _without_duplicates(fields, found, rows, criterion, classed)
    return figures


def _without_duplicates(
    fields: Sequence[Field],
    found: Sequence[FoundCells],
    rows: Sequence[FieldFigures],
    criterion: Criterion,
    classed: bool,
) -> dict[str, Any]:
    kept, removed = [], 0
    for of, cells, row in zip(fields, found, rows, strict=True):
        single = of.without_duplicates()
        removed += len(of.label) - len(single.label)
        same = single is of
        kept.append(
            row if same else score_field(single, cells, criterion=criterion, classed=classed)
        )
    return {"removed": removed} | total_figures(kept)


def _confusion(told: NDArray[np.uint8], said: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    counts = [
        int(np.count_nonzero((told == true) & (said == call)))
        for true in (POSITIVE, NEGATIVE)
        for call in (POSITIVE, NEGATIVE)
    ]
    return counts[0], counts[1], counts[2], counts[3]


def _field_row(row: FieldFigures) -> dict[str, Any]:
    labelled = row.positive + row.negative
    return {key: getattr(row, key) for key in _ROW_KEYS} | {
        "hits": row.every.hits,
        "f1_all": rounded(row.every.f1),
        "f1_labelled": rounded(labelled.f1),
        "true_index_pct": rounded(row.true_index_pct),
        "found_index_pct": rounded(row.found_index_pct),
    }
