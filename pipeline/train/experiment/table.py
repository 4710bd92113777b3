"""The table of an experiment, made again from the stored points: mean and spread over runs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.io.files import atomic_path
from pipeline.train.datasets import load_fields
from pipeline.train.detection import Detection
from pipeline.train.evaluate import CRITERIA, compare
from pipeline.train.experiment.config import Experiment
from pipeline.train.experiment.run import RUN_NAME, Run, planned_runs
from pipeline.train.experiment.thresholds import cross_fitted_threshold
from pipeline.train.fields import Field
from pipeline.train.figures import total_figures
from pipeline.train.predictions import PREDICTIONS_NAME, read_predictions
from pipeline.train.scoring import role_fields
from pipeline.train.validation import THRESHOLDS

RESULTS_JSON, RESULTS_MD = "results.json", "results.md"
COLUMNS: tuple[tuple[str, str, str, float, int], ...] = (
    ("at_10_px512", "f1_all", "F1 at 10 px", 100, 1),
    ("at_10_px512", "precision_all", "precision", 100, 1),
    ("at_10_px512", "recall_all", "recall", 100, 1),
    ("at_5_px512", "f1_all", "F1 at 5 px", 100, 1),
    ("at_3.125_um", "f1_all", "F1 at 3.125 um", 100, 1),
    ("at_3.125_um", "f1_positive", "F1 positive", 100, 1),
    ("at_3.125_um", "f1_negative", "F1 negative", 100, 1),
    ("at_10_px512", "count_mae", "MAE", 1, 1),
    ("at_10_px512", "count_rmse", "RMSE", 1, 1),
    ("at_3.125_um", "index_mae_pct", "index MAE, points", 1, 1),
)
"""Criterion, figure, title, factor, digits."""


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """One run, its held-out fields and what it found on them, by source."""

    run: Run
    told: dict[str, Any]
    fields: Mapping[str, Sequence[Field]]
    detections: Mapping[str, Detection]


def write_results(experiment: Experiment, out: Path, *, data: Path = Path()) -> str:
    """Write ``results.json`` and ``results.md`` of the runs finished so far; return the table.

    Every figure comes from the points in ``predictions.json`` and the annotations as they are now.
    """
    finished = finished_runs(experiment, out, data=data)
    runs = [
        run_figures(of, threshold=_threshold(experiment, of, finished, data)) for of in finished
    ]
    rows = summarise(experiment, runs)
    text = markdown(experiment, rows, finished=len(runs))
    result = {"experiment": experiment.name, "rows": rows, "runs": runs}
    for name, content in ((RESULTS_JSON, json.dumps(result, indent=2) + "\n"), (RESULTS_MD, text)):
        with atomic_path(out / name) as partial:
            partial.write_text(content, encoding="utf-8")
    return text


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


def run_figures(of: FinishedRun, *, threshold: float | None = None) -> dict[str, Any]:
    """What one run was and the figures of its points on all held-out fields together.

    Parameters
    ----------
    threshold
        None leaves the one that the run chose.
    """
    every = [
        replace(field, group=f"{name}/{field.group}")
        for name, some in of.fields.items()
        for field in some
    ]
    detections = [of.detections[name].at(threshold) for name in of.fields]
    found = [cells for detection in detections for cells in detection.found]
    first = detections[0]
    figures = {
        criterion.key: total_figures(
            compare(every, found, criterion=criterion, classed=first.classed)
        )
        for criterion in CRITERIA
    }
    chosen = of.told.get("threshold", first.threshold) if threshold is None else threshold
    return of.told | {"threshold": chosen, "figures": figures}


def _threshold(
    experiment: Experiment, of: FinishedRun, finished: Sequence[FinishedRun], data: Path
) -> float | None:
    """The cross-fitted threshold of a run, None where the run chose its own."""
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


def summarise(experiment: Experiment, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per group of folds and variant, in the experiment's order: mean and spread."""
    rows = []
    for group in dict.fromkeys(fold.group for fold in experiment.folds):
        for variant in experiment.variants:
            mine = [r for r in runs if (r["group"], r["variant"]) == (group, variant.name)]
            if not mine:
                continue
            row: dict[str, Any] = {"group": group, "variant": variant.name, "runs": len(mine)}
            for criterion, figure, _, factor, _ in COLUMNS:
                values = [run["figures"][criterion][figure] for run in mine]
                row.setdefault(criterion, {})[figure] = _mean_and_spread(values, factor)
            row["steps"] = [run["steps"] for run in mine]
            rows.append(row)
    return rows


def markdown(experiment: Experiment, rows: Sequence[Mapping[str, Any]], *, finished: int) -> str:
    """The rows as one table; columns that no variant has are left out."""
    shown = [c for c in COLUMNS if any(row[c[0]][c[1]] is not None for row in rows)]
    planned = len(experiment.folds) * len(experiment.seeds) * len(experiment.variants)
    budget = (
        f"{experiment.steps} steps"
        if experiment.steps is not None
        else f"the steps that fit in {experiment.minutes:g} minutes"
    )
    lines = [
        f"# {experiment.name}",
        "",
        experiment.question,
        "",
        f"Budget of a training: {budget}. Runs finished: {finished} of {planned}. Mean over folds "
        "and seeds ± standard deviation; px: of the field scaled to 512 x 512 px.",
        "",
        "| folds | variant | runs | " + " | ".join(c[2] for c in shown) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(shown),
    ]
    for row in rows:
        cells = [_cell(row[criterion][figure], digits) for criterion, figure, _, _, digits in shown]
        lines.append(f"| {row['group']} | {row['variant']} | {row['runs']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean_and_spread(values: Sequence[float | None], factor: float) -> dict[str, Any] | None:
    known = [factor * value for value in values if value is not None]
    if not known:
        return None
    spread = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": round(statistics.fmean(known), 6), "sd": spread and round(spread, 6)}


def _cell(value: Mapping[str, Any] | None, digits: int) -> str:
    if value is None:
        return "-"
    mean = f"{value['mean']:.{digits}f}"
    return mean if value["sd"] is None else f"{mean} ± {value['sd']:.{digits}f}"
