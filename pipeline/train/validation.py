"""Validation: predict the fields once, sweep the threshold, keep the figures of the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.ccls import Peaks
from pipeline.train.evaluate import FoundCells, evaluate_points
from pipeline.train.fields import Field
from pipeline.train.method import PostConfig
from pipeline.train.prediction import Predict, candidates

THRESHOLDS = tuple(round(0.02 + 0.02 * step, 2) for step in range(45))
"""Peak heights tried, 0.02 to 0.90 (LMDS: shares of the highest); 0.06 is the paper's."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The best threshold and what it gives.

    ``score`` is the micro F1 of both classes' counts together: a cell of the wrong class is both
    missed and false.
    """

    threshold: float
    score: float
    figures: dict[str, Any]


def validate(
    predict: Predict,
    fields: Sequence[Field],
    *,
    halo_px: int,
    post: PostConfig,
    match_radius_um: float,
    classed: bool = True,
) -> SweepResult:
    """Find the cells of fields (at the model's resolution) and the threshold that fits them best.

    Parameters
    ----------
    classed
        Whether the network tells positive from negative. If so ``f1_labelled`` is maximised, if
        not ``f1_all``, and there are no figures of classes.
    """
    peaks = [
        candidates(predict, field, halo_px=halo_px, rule=post.rule(field.mpp_um), floor=post.floor)
        for field in fields
    ]
    best: SweepResult | None = None
    for threshold in thresholds(post):
        found = [cells_from_peaks(of_field, threshold) for of_field in peaks]
        figures = evaluate_points(fields, found, radius_um=match_radius_um, classed=classed)
        score = figures[scored_by(classed=classed)] or 0.0
        if best is None or score > best.score:
            best = SweepResult(threshold, score, figures)
    return best or SweepResult(post.floor, 0.0, {})


def scored_by(*, classed: bool) -> str:
    """Figure that chooses steps and thresholds: with labels where the network tells them."""
    return "f1_labelled" if classed else "f1_all"


def thresholds(post: PostConfig) -> tuple[float, ...]:
    """Thresholds to try: the one that is set, or the sweep's that are not below the floor."""
    if post.threshold is not None:
        return (post.threshold,)
    return tuple(value for value in THRESHOLDS if value >= post.floor) or (post.floor,)


def cells_from_peaks(peaks: Peaks, threshold: float, *, scale: float = 1.0) -> FoundCells:
    """Keep the peaks that reach the threshold; coordinates times ``scale``."""
    kept = np.flatnonzero(peaks.score >= threshold)
    return FoundCells(peaks.x_px[kept] * scale, peaks.y_px[kept] * scale, peaks.label[kept])
