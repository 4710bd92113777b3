"""A variant's threshold and figures, put onto the card of a model trained on every field."""

import json
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.model.card import ModelCard, Source
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.train.experiment.config import Experiment
from pipeline.train.experiment.finished import FinishedRun, finished_runs
from pipeline.train.experiment.table import RESULTS_JSON
from pipeline.train.experiment.thresholds import cross_fitted_threshold
from pipeline.train.export import floor_below
from pipeline.train.validation import THRESHOLDS


def vouch(
    experiment: Experiment,
    out: Path,
    variant: str,
    model: Path,
    *,
    data: Path = Path(),
    command: str | None = None,
) -> ModelCard:
    """Write onto a model's card what a variant's folds say of its recipe.

    A model trained on every field has none left to choose its threshold or to be measured on. Its
    threshold becomes the one that fits best what the folds' networks found on the fields that each
    of them held out; its figures are those of the variant's rows, not of its own weights.

    Parameters
    ----------
    model
        Folder of the model; its card is replaced, its weights stay as they are.
    out
        The experiment's folder; the variant's rows of its ``results.json`` become the figures.
    command
        What prints these figures again; stands beside them on the card.

    Raises
    ------
    ConfigError
        No run of the variant is finished, it has no network, or another one than the model.
    """
    settings = experiment.training_config(
        experiment.variant(variant), experiment.folds[0], experiment.seeds[0], 1
    )
    network, card = load_checkpoint(model)
    if experiment.variant(variant).classical or settings.architecture != network.spec.architecture:
        raise ConfigError(f"{card.name}: is not the network of variant {variant}")
    finished = [
        run
        for run in finished_runs(experiment, out, data=data)
        if (run.run.variant.name, run.run.seed) == (variant, experiment.seeds[0])
    ]
    threshold = cross_fitted_threshold(
        _held_out(finished),
        [(run.fields, run.detections) for run in finished],
        THRESHOLDS,
        match_radius_um=settings.match_radius_um,
    )
    if threshold is None:
        raise ConfigError(f"{experiment.name}: no run of variant {variant} is finished in {out}")
    chosen_on = dict.fromkeys(name for name, _ in _held_out(finished))
    licences = {source.name: source.licence for source in experiment.sources}
    sources = [source for source in card.sources if source.use != "threshold"]
    sources += [Source(name=name, licence=licences[name], use="threshold") for name in chosen_on]
    rows = json.loads((out / RESULTS_JSON).read_text(encoding="utf-8"))["rows"]
    told = {"experiment": experiment.name, "rows": [r for r in rows if r["variant"] == variant]}
    changes = {
        "threshold": threshold,
        "floor": floor_below(threshold, settings.post.floor),
        "sources": tuple(sources),
        "metrics": card.metrics
        | {"cross_validation": told | ({"command": command} if command else {})},
    }
    return save_checkpoint(model, network, card.model_copy(update=changes), half=True)


def _held_out(finished: list[FinishedRun]) -> list[tuple[str, str]]:
    return [
        (name, field.name)
        for run in finished
        for name, fields in run.fields.items()
        for field in fields
    ]
