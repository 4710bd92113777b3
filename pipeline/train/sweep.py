"""How the figures change with the threshold: candidates are matched again at each."""

from collections.abc import Sequence
from typing import Any

from pipeline.train.detection import Detection
from pipeline.train.evaluate import Criterion, compare
from pipeline.train.fields import Field
from pipeline.train.figures import total_figures
from pipeline.train.validation import THRESHOLDS

KEPT = (
    *("f1_all", "precision_all", "recall_all"),
    *("f1_positive", "f1_negative", "f1_labelled"),
    *("count_mae", "count_bias", "index_mae_pct", "index_bias_pct"),
)


def sweep(
    fields: Sequence[Field], detection: Detection, *, criterion: Criterion
) -> list[dict[str, Any]]:
    """Figures at thresholds from the detector's floor up to 0.9, and at its own threshold.

    Returns
    -------
    list of dict
        ``threshold`` and the figures of ``KEPT``, by rising threshold; empty where the detector
        gives no scores.
    """
    own, floor = detection.threshold, detection.floor
    if own is None or floor is None:
        return []
    tried: set[float] = {value for value in THRESHOLDS if value >= floor} | {own, floor}
    rows: list[dict[str, Any]] = []
    for threshold in sorted(tried):
        found = detection.at(threshold).found
        counted = compare(fields, found, criterion=criterion, classed=detection.classed)
        figures = total_figures(counted)
        if rows and threshold > own and not any(len(cells.label) for cells in found):
            break  # a higher one finds nothing either
        row: dict[str, Any] = {"threshold": threshold}
        rows.append(row | {name: figures[name] for name in KEPT})
    return rows
