"""Scoring of a stored model, or of the classical detector, on annotated fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core.localizing import PostKind
from pipeline.errors import ConfigError, ModelError
from pipeline.model.card import ModelCard, load_card
from pipeline.model.zoo import resolve_model
from pipeline.train.config import Role, TrainConfig
from pipeline.train.datasets import load_fields
from pipeline.train.evaluate import MATCH_RADII_UM, FoundCells, evaluate_points
from pipeline.train.export import add_figures
from pipeline.train.fields import Field
from pipeline.train.prediction import model_candidates
from pipeline.train.validation import cells_from_peaks

CLASSICAL = "classical"
"""Stands for the detector without a network."""


def find_cells(
    model: str,
    field: Field,
    *,
    threshold: float | None = None,
    post: PostKind | None = None,
    threads: int = 1,
) -> FoundCells:
    """Find a field's cells with a model (a name or a folder) or with ``classical``.

    Parameters
    ----------
    threshold
        None takes the model card's; with another rule than the card's, the published one if it is
        part of that rule.
    post
        How cells are read from the heatmap; None takes the model card's.

    Returns
    -------
    FoundCells
        In the pixels of ``field``.
    """
    if model == CLASSICAL:
        return _classical_cells(field)
    card = load_card(resolve_model(model))
    at = card.threshold if threshold is None else threshold
    if threshold is None and post not in (None, card.post):
        at = card.peak_rule(post).usual_threshold or at
    peaks, _, scaled = model_candidates(model, field, floor=at, post=post, threads=threads)
    return cells_from_peaks(peaks, at, scale=scaled.mpp_um / field.mpp_um)


def score_model(
    model: str,
    fields: Sequence[Field],
    *,
    threshold: float | None = None,
    post: PostKind | None = None,
    radii_um: Sequence[float] = MATCH_RADII_UM,
    threads: int = 1,
) -> dict[str, Any]:
    """Figures of a model on fields, one entry per match radius.

    Returns
    -------
    dict
        ``model`` and ``at_<radius>_um`` -> see ``evaluate_points``.
    """
    found = [
        find_cells(model, field, threshold=threshold, post=post, threads=threads)
        for field in fields
    ]
    return {"model": Path(model).name} | {
        f"at_{radius:g}_um": evaluate_points(fields, found, radius_um=radius) for radius in radii_um
    }


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
    by_source = role_fields(config, role, data=data)
    every = [field for fields in by_source.values() for field in fields]
    sets = by_source | ({"all": every} if len(by_source) > 1 else {})
    return {
        name: score_model(model, fields, threads=threads, threshold=threshold, post=post)
        for name, fields in sets.items()
    }


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


def _brief(scores: dict[str, Any]) -> dict[str, Any]:
    """Drop the lists of fields: the card keeps the sums."""
    if not isinstance(scores, dict):
        return scores
    return {
        key: _brief(value) if isinstance(value, dict) else value
        for key, value in scores.items()
        if key not in {"per_field", "model"}
    }


def _classical_cells(field: Field) -> FoundCells:
    from pipeline.core.classical import detect_classical

    x_px, y_px, label = detect_classical(field.image, mpp_um=field.mpp_um)
    return FoundCells(x_px, y_px, label)
