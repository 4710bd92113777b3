"""The detector without a network, its two thresholds tuned on the fields that others train on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product

from pipeline.core.classical import classical_candidates, detect_classical
from pipeline.train.detection import CLASSICAL, Detection
from pipeline.train.evaluate import Criterion, FoundCells, compare
from pipeline.train.fields import Field
from pipeline.train.figures import total_figures

THRESHOLDS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06)
DAB_THRESHOLDS = (0.2, 0.3, 0.4, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class ClassicalSettings:
    """Thresholds of the classical detector."""

    threshold: float
    dab_threshold: float


def tune_classical(
    fields: Sequence[Field], *, match_radius_um: float, scored_by: str
) -> ClassicalSettings:
    """Take the thresholds with the best figure; of equal ones the first of the grid."""
    classed = scored_by != "f1_all"
    candidates = [
        classical_candidates(field.image, mpp_um=field.mpp_um, floor=min(THRESHOLDS))
        for field in fields
    ]
    grid = product(THRESHOLDS, DAB_THRESHOLDS if classed else DAB_THRESHOLDS[:1])
    best: tuple[float, ClassicalSettings] | None = None
    for threshold, dab_threshold in grid:
        settings = ClassicalSettings(threshold, dab_threshold)
        found = [FoundCells(*some.cells(**asdict(settings))) for some in candidates]
        rows = compare(fields, found, criterion=Criterion(match_radius_um), classed=classed)
        score = total_figures(rows)[scored_by] or 0.0
        if best is None or score > best[0]:
            best = (score, settings)
    return best[1] if best else ClassicalSettings(THRESHOLDS[0], DAB_THRESHOLDS[0])


def classical_detection(
    fields: Sequence[Field], settings: ClassicalSettings, *, classed: bool
) -> Detection:
    """Find the cells of fields."""
    found = tuple(
        FoundCells(*detect_classical(field.image, mpp_um=field.mpp_um, **asdict(settings)))
        for field in fields
    )
    return Detection(CLASSICAL, None, None, classed=classed, candidates=found)
