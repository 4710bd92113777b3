"""Finished runs of an experiment: their stored points, and the thresholds these are read with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.train.datasets import load_fields
from pipeline.train.detection import Detection
from pipeline.train.experiment.config import Experiment
from pipeline.train.experiment.run import RUN_NAME, Run, planned_runs
from pipeline.train.experiment.thresholds import cross_fitted_threshold
from pipeline.train.fields import Field
from pipeline.train.predictions import PREDICTIONS_NAME, read_predictions
from pipeline.train.scoring import role_fields
from pipeline.train.validation import THRESHOLDS


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """One run, its held-out fields and what it found on them, by source."""

    run: Run
    told: dict[str, Any]
    fields: Mapping[str, Sequence[Field]]
    detections: Mapping[str, Detection]


def finished_runs(experiment: Experiment, out: Path, *, data: Path) -> list[FinishedRun]:
    """Read the runs finished so far, in the experiment's order."""
    fields: dict[str, dict[str, list[Field]]] = {}
    finished = []
    for run in planned_runs(experiment, out):
        if not (run.folder / RUN_NAME).is_file():
            continue
        if run.fold.name not in fields:
            config = experiment.training_config(run.variant, run.fold, run.seed, 1)
            fields[run.fold.name] = role_fields(config, "held_out", data=data)
        held_out = fields[run.fold.name]
        detections = read_predictions(run.folder / PREDICTIONS_NAME, held_out)
        told = json.loads((run.folder / RUN_NAME).read_text(encoding="utf-8"))
        finished.append(FinishedRun(run, told, held_out, detections))
    return finished


def chosen_threshold(
    experiment: Experiment, of: FinishedRun, finished: Sequence[FinishedRun], data: Path
) -> float | None:
    """Return the cross-fitted threshold of a run, None where the run chose its own."""
    if experiment.thresholds == "validation" or of.run.variant.classical:
        return None
    config = experiment.training_config(of.run.variant, of.run.fold, of.run.seed, 1)
    trained_on = [
        (source.name, field.name)
        for source in config.training
        if source.name in {name for fold in experiment.folds for name in fold.held_out}
        for field in load_fields(source, data=data)
    ]
    same = (of.run.variant.name, of.run.seed)
    others = [
        (other.fields, other.detections)
        for other in finished
        if other is not of and (other.run.variant.name, other.run.seed) == same
    ]
    return cross_fitted_threshold(
        trained_on, others, THRESHOLDS, match_radius_um=config.match_radius_um
    )
