"""From a trained network to a model folder: weights and the card that vouches for them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.model.card import ModelCard, Source
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.model.registry import HeatmapNetwork
from pipeline.train.config import SourceConfig, TrainConfig

# Settings that a reader of the card wants to see; the rest is in the training's own file.
_TRAINING_KEYS = ("crop_px", "batch", "steps", "lr", "schedule", "weight_decay", "ema", "seed")


def export_model(
    folder: Path,
    network: HeatmapNetwork,
    config: TrainConfig,
    *,
    threshold: float,
    validation: dict[str, Any],
    step: int,
) -> ModelCard:
    """Write a network as a model: float16 kernels and a card with its threshold and figures."""
    training = {key: getattr(config, key) for key in _TRAINING_KEYS}
    training["map"] = config.map.model_dump(mode="json", exclude_none=True)
    card = ModelCard(
        name=config.card.name,
        spec=network.spec,
        channels=("positive", "negative") if network.spec.channels == 2 else ("cell",),
        mpp_um=config.mpp_um,
        threshold=threshold,
        floor=floor_below(threshold, config.post.floor),
        nms_radius_um=config.post.radius_um,
        post=config.post.kind,
        halo_px=config.card.halo_px,
        population=config.card.population,
        caveat=config.card.caveat,
        sources=tuple(_sources(config)),
        licence=config.card.licence,
        metrics={"validation": _brief(validation)},
        training=training | {"step": step},
        limits=config.card.limits,
        created=datetime.now(UTC).date().isoformat(),
    )
    return save_checkpoint(folder, network, card, half=True)


def floor_below(threshold: float, floor: float) -> float:
    """Height from which candidates are kept: room to lower the threshold without a new run."""
    return min(threshold, max(floor, round(threshold / 2, 3)))


def add_figures(
    folder: Path, target: Path, figures: dict[str, Any], *, held_out: Sequence[SourceConfig] = ()
) -> ModelCard:
    """Copy a model to ``target`` with further figures on its card under ``metrics``.

    The sources held out are named under ``training``, so that others can score the same fields;
    those that lie outside the data folder are not: a card tells no path of this machine.
    """
    network, card = load_checkpoint(folder)
    named = [
        source.model_dump(mode="json", exclude_defaults=True)
        for source in held_out
        if not Path(source.path or "").is_absolute()
    ]
    changes = {
        "metrics": card.metrics | figures,
        "training": card.training | ({"held_out": named} if named else {}),
    }
    return save_checkpoint(target, network, card.model_copy(update=changes), half=True)


def _sources(config: TrainConfig) -> list[Source]:
    roles = (("training", config.training), ("threshold", config.validation))
    return [_source(source, role) for role, sources in roles for source in sources]


def _source(source: SourceConfig, role: str) -> Source:
    return Source(name=source.name, licence=source.licence, use=role)


def _brief(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "per_field"}
