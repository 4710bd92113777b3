"""Scoring of a stored model, or of the classical detector, on sets of annotated fields."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.localizing import PostKind
from pipeline.errors import ConfigError, ModelError
from pipeline.model.card import ModelCard
from pipeline.train.config import Role, TrainConfig
from pipeline.train.datasets import load_fields
from pipeline.train.detection import CLASSICAL, Detection, detect
from pipeline.train.evaluate import (
    CRITERIA,
    FRAME_RADII_PX,
    MATCH_RADII_UM,
    Criterion,
    FoundCells,
    full_figures,
)
from pipeline.train.export import add_figures
from pipeline.train.fields import Field
from pipeline.train.sweep import sweep

__all__ = ["CLASSICAL", "ScoredSet", "export_scored", "find_cells", "score_model", "score_role"]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSet:
    """One set of fields, what a detector found there, and the figures."""

    name: str
    fields: Sequence[Field]
    detection: Detection
    figures: dict[str, Any]


def find_cells(
    model: str,
    field: Field,
    *,
    threshold: float | None = None,
    post: PostKind | None = None,
    threads: int = 1,
) -> FoundCells:
    """Find a field's cells with a model or with ``classical``; see ``detection.detect``."""
    detection = detect(model, [field], threshold=threshold, post=post, threads=threads)
    return detection.found[0]


def score_detection(
    fields: Sequence[Field],
    detection: Detection,
    *,
    criteria: Sequence[Criterion] = CRITERIA,
) -> dict[str, Any]:
    """Figures of what was found, one entry per criterion, and the sweep within the first one.

    Returns
    -------
    dict
        ``model``, ``threshold``, ``floor``, ``at_<radius>_<frame>`` (see
        ``evaluate.full_figures``), ``sweep``.
    """
    scores: dict[str, Any] = {
        "model": detection.model,
        "threshold": detection.threshold,
        "floor": detection.floor,
    }
    for criterion in criteria:
        scores[criterion.key] = full_figures(
            fields, detection.found, criterion=criterion, classed=detection.classed
        )
    scores["sweep"] = sweep(fields, detection, criterion=criteria[0])
    return scores


def score_model(
    model: str,
    fields: Sequence[Field],
    *,
    threshold: float | None = None,
    post: PostKind | None = None,
    radii_um: Sequence[float] = MATCH_RADII_UM,
    threads: int = 1,
) -> dict[str, Any]:
    """Figures of a model on fields within radii in micrometres and those of the 512-pixel frame.

    See ``score_detection`` for what comes back.
    """
    detection = detect(model, fields, threshold=threshold, post=post, threads=threads)
    criteria = [Criterion(radius) for radius in radii_um]
    criteria += [Criterion(radius, "px512") for radius in FRAME_RADII_PX]
    return score_detection(fields, detection, criteria=criteria)


def score_sets(
    sets: Mapping[str, Sequence[Field]],
    find: Callable[[str, Sequence[Field]], Detection],
) -> list[ScoredSet]:
    """Score each set alone and, where there are several, all together under the name ``all``.

    Parameters
    ----------
    find
        Finds the cells of a set, given its name and fields; called once a set.
    """
    parts = [(name, list(fields), find(name, fields)) for name, fields in sets.items()]
    if len(parts) > 1:
        # groups of two sets may have one name
        every = [
            replace(field, group=f"{name}/{field.group}")
            for name, fields, _ in parts
            for field in fields
        ]
        parts.append(("all", every, _joined([found for _, _, found in parts])))
    return [
        ScoredSet(name, fields, found, score_detection(fields, found))
        for name, fields, found in parts
    ]


def role_fields(config: TrainConfig, role: Role, *, data: Path) -> dict[str, list[Field]]:
    """Read the fields of one role, by source; sources of one name are joined.

    Raises
    ------
    ConfigError
        The settings name no source of that role.
    """
    by_source: dict[str, list[Field]] = {}
    for source in config.sources(role):
        by_source.setdefault(source.name, []).extend(load_fields(source, data=data))
    if not by_source:
        raise ConfigError(f"{role}: the settings name no such source")
    return by_source


def score_role(
    model: str,
    config: TrainConfig,
    role: Role,
    *,
    data: Path,
    threads: int = 1,
    threshold: float | None = None,
    post: PostKind | None = None,
) -> dict[str, Any]:
    """Figures of a model on the fields of one role: each source alone and all together."""

    def find(_name: str, fields: Sequence[Field]) -> Detection:
        return detect(model, fields, threshold=threshold, post=post, threads=threads)

    scored = score_sets(role_fields(config, role, data=data), find)
    return {part.name: part.figures for part in scored}


def export_scored(config: TrainConfig, folder: Path, target: Path, *, data: Path) -> ModelCard:
    """Write the best model of a training to ``target``, its held-out figures on the card.

    Raises
    ------
    ModelError
        The training has not kept a model yet.
    """
    best = folder / "model"
    if not best.is_dir():
        raise ModelError(f"{folder.name}: no model has been kept yet; train on until a validation")
    if not config.held_out:
        return add_figures(best, target, {})
    scores = score_role(str(best), config, "held_out", data=data, threads=config.threads)
    return add_figures(best, target, {"held_out": _brief(scores)}, held_out=config.held_out)


def _joined(detections: Sequence[Detection]) -> Detection:
    """One detector's candidates on all sets."""
    first = detections[0]
    candidates = tuple(cells for found in detections for cells in found.candidates)
    return Detection(first.model, first.threshold, first.floor, first.classed, candidates)


_NOT_ON_CARD = frozenset(
    {"per_field", "model", "threshold", "floor", "sweep", "interval95", "without_duplicates"}
)


def _brief(scores: dict[str, Any]) -> dict[str, Any]:
    """Drop lists, intervals and the 512-pixel frame: the card keeps the figures in micrometres."""
    return {
        key: _brief(value) if isinstance(value, dict) else value
        for key, value in scores.items()
        if key not in _NOT_ON_CARD and not key.endswith("_px512")
    }
