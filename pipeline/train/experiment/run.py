"""Running an experiment: one training after another; what is finished is kept."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pipeline.config import digest
from pipeline.errors import ConfigError
from pipeline.io.files import atomic_path
from pipeline.train.config import TrainConfig
from pipeline.train.datasets import load_fields
from pipeline.train.detection import Detection, detect
from pipeline.train.experiment.classical import classical_detection, tune_classical
from pipeline.train.experiment.config import Experiment, Fold, Variant
from pipeline.train.experiment.thresholds import best_threshold
from pipeline.train.fields import Field
from pipeline.train.loop import seconds_per_step, train
from pipeline.train.predictions import PREDICTIONS_NAME, write_predictions
from pipeline.train.scoring import role_fields
from pipeline.train.validation import scored_by, thresholds

LOG = logging.getLogger(__name__)

RUN_NAME = "run.json"
BUDGET_NAME = "budget.json"
TRAINING_FOLDER = "training"
CHANGES_NOTHING = {"save_every", "card"}
"""Settings without influence on the points found."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training (or tuning) of an experiment and where it lives."""

    variant: Variant
    fold: Fold
    seed: int
    folder: Path


def planned_runs(experiment: Experiment, out: Path) -> Iterator[Run]:
    """Every run in the order in which they are made; a shared network comes before its sharers."""
    ordered = sorted(experiment.variants, key=lambda variant: variant.trained_as is not None)
    for fold in experiment.folds:
        for seed in experiment.seeds:
            for variant in ordered:
                yield Run(variant, fold, seed, run_folder(out, variant.name, fold, seed))


def run_folder(out: Path, variant: str, fold: Fold, seed: int) -> Path:
    """Where a run's files lie."""
    return out / variant / f"{fold.name}-seed{seed}"


def run_experiment(
    experiment: Experiment,
    out: Path,
    *,
    data: Path = Path(),
    jobs: int = 1,
    only: Callable[[Run], bool] = lambda _run: True,
    on_run: Callable[[Run, str], None] | None = None,
) -> None:
    """Make every run that is not finished yet.

    Parameters
    ----------
    out
        Gets ``<variant>/<fold>-seed<n>/`` with the training, ``predictions.json`` (every candidate
        on the held-out fields) and, last, ``run.json``, the mark of a finished run.
    data
        Folder that relative source paths start from.
    jobs
        Runs made at a time, each in a process of its own.
    only
        Tells whether a run is to be made here; others may be made elsewhere.
    on_run
        Told each run and what becomes of it: ``kept``, ``starts`` or ``done``.

    Raises
    ------
    ConfigError
        ``out`` holds a finished run of other settings.
    """
    tell = on_run or (lambda _run, _state: None)
    waiting = []
    for run in filter(only, planned_runs(experiment, out)):
        config = _config_of(experiment, run, out, data)
        if _finished(run, config):
            tell(run, "kept")
        else:
            waiting.append((run, config))
    if jobs == 1:
        for run, config in waiting:
            tell(run, "starts")
            _finish(run, config, out, data)
            tell(run, "done")
        return
    # a network that others share is trained before they read it
    for shares in (False, True):
        some = [part for part in waiting if (part[0].variant.trained_as is not None) == shares]
        _finish_together(some, out, data, jobs=jobs, tell=tell)


def _finish_together(
    waiting: Sequence[tuple[Run, TrainConfig]],
    out: Path,
    data: Path,
    *,
    jobs: int,
    tell: Callable[[Run, str], None],
) -> None:
    # fresh processes: a forked one inherits threads and devices that it cannot use
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        made = {pool.submit(_finish, run, config, out, data): run for run, config in waiting}
        for future in as_completed(made):
            future.result()
            tell(made[future], "done")


def _finish(run: Run, config: TrainConfig, out: Path, data: Path) -> None:
    began = time.monotonic()
    told = _make(run, config, out, data)
    told |= _identity(run, config) | {"seconds": round(time.monotonic() - began, 1)}
    _write_json(run.folder / RUN_NAME, told)
    LOG.info("%s: %.0f s", run.folder.name, told["seconds"])


def _config_of(experiment: Experiment, run: Run, out: Path, data: Path) -> TrainConfig:
    steps = experiment.steps
    if steps is None:
        trained = run.variant.trained_as or run.variant.name
        steps = _steps_in_time(experiment, experiment.variant(trained), out / trained, data)
    return experiment.training_config(run.variant, run.fold, run.seed, steps)


def _steps_in_time(experiment: Experiment, variant: Variant, folder: Path, data: Path) -> int:
    """Steps that fit the minutes: measured once, so that a resumed training keeps its schedule."""
    if variant.classical or experiment.minutes is None:
        return 1
    path = folder / BUDGET_NAME
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["minutes"] == experiment.minutes:
            return int(stored["steps"])
    config = experiment.training_config(variant, experiment.folds[0], experiment.seeds[0], 1)
    seconds = seconds_per_step(config, data=data)
    steps = max(1, int(60 * experiment.minutes / seconds))
    _write_json(path, {"minutes": experiment.minutes, "steps": steps, "seconds_per_step": seconds})
    return steps


def _make(run: Run, config: TrainConfig, out: Path, data: Path) -> dict[str, Any]:
    """Train or tune, find the held-out cells, store them; return what the choice was."""
    if run.variant.classical:
        told, detections = _tuned(config, data)
    else:
        trained = run.variant.trained_as
        origin = run.folder if trained is None else run_folder(out, trained, run.fold, run.seed)
        if trained is None:
            train(config, origin / TRAINING_FOLDER, data=data, resume=True)
        told, detections = _detected(origin / TRAINING_FOLDER / "model", run, config, data)
    held_out = role_fields(config, "held_out", data=data)
    sets = {name: (fields, detections(fields)) for name, fields in held_out.items()}
    write_predictions(run.folder / PREDICTIONS_NAME, sets)
    return told


Finder = Callable[[list[Field]], Detection]


def _tuned(config: TrainConfig, data: Path) -> tuple[dict[str, Any], Finder]:
    fields = _fields(config, "training", data) + _fields(config, "validation", data)
    measure = scored_by(classed=config.channels > 1)
    settings = tune_classical(fields, match_radius_um=config.match_radius_um, scored_by=measure)
    classed = config.channels > 1
    return asdict(settings), lambda some: classical_detection(some, settings, classed=classed)


def _detected(
    model: Path, run: Run, config: TrainConfig, data: Path
) -> tuple[dict[str, Any], Finder]:
    """The stored network with its own threshold, or with one chosen anew for another rule."""
    threshold = None
    if run.variant.trained_as is not None and config.validation:
        threshold = _chosen_threshold(model, config, data)

    def find(some: list[Field]) -> Detection:
        return _found_by(model, some, config, threshold)

    return {} if threshold is None else {"threshold": threshold}, find


def _chosen_threshold(model: Path, config: TrainConfig, data: Path) -> float:
    fields = _fields(config, "validation", data)
    tried = thresholds(config.post)
    candidates = _found_by(model, fields, config, min(tried))
    return best_threshold(fields, candidates, tried, match_radius_um=config.match_radius_um)


def _found_by(
    model: Path, fields: list[Field], config: TrainConfig, threshold: float | None
) -> Detection:
    return detect(
        str(model),
        fields,
        threshold=threshold,
        post=config.post.kind,
        threads=config.threads,
        device=config.device,
    )


def _fields(config: TrainConfig, role: Any, data: Path) -> list[Field]:
    return [field for source in config.sources(role) for field in load_fields(source, data=data)]


def _identity(run: Run, config: TrainConfig) -> dict[str, Any]:
    return {
        "variant": run.variant.name,
        "fold": run.fold.name,
        "group": run.fold.group,
        "seed": run.seed,
        "steps": None if run.variant.classical else config.steps,
        "settings": digest(
            {
                "training": config.model_dump(mode="json", exclude=CHANGES_NOTHING),
                "trained_as": run.variant.trained_as,
                "classical": run.variant.classical,
            }
        ),
    }


def _finished(run: Run, config: TrainConfig) -> bool:
    path = run.folder / RUN_NAME
    if not path.is_file():
        return False
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["settings"] != _identity(run, config)["settings"]:
        raise ConfigError(
            f"{path.parent.parent.name}/{path.parent.name}: finished with other settings; "
            "give another --out or remove that folder"
        )
    return True


def _write_json(path: Path, value: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
