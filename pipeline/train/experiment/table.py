"""The table of an experiment, made again from stored points: pooled figures and their spread."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.io.files import atomic_path
from pipeline.train.evaluate import CRITERIA, compare
from pipeline.train.experiment.config import Experiment
from pipeline.train.experiment.finished import FinishedRun, chosen_threshold, finished_runs
from pipeline.train.figures import FieldFigures, total_figures

RESULTS_JSON, RESULTS_MD = "results.json", "results.md"
EVERY = "all"
"""Name of all sources together."""
COLUMNS: tuple[tuple[str, str, str, float, int], ...] = (
    ("at_3.125_um", "f1_all", "F1 at 3.125 um", 100, 1),
    ("at_3.125_um", "precision_all", "precision", 100, 1),
    ("at_3.125_um", "recall_all", "recall", 100, 1),
    ("at_3.125_um", "f1_positive", "F1 positive", 100, 1),
    ("at_3.125_um", "f1_negative", "F1 negative", 100, 1),
    ("at_1.5625_um", "f1_all", "F1 at 1.5625 um", 100, 1),
    ("at_3.125_um", "index_mae_pct", "index MAE, points", 1, 1),
    ("at_10_px512", "f1_all", "F1 at 10 px", 100, 1),
    ("at_5_px512", "f1_all", "F1 at 5 px", 100, 1),
    ("at_10_px512", "count_mae", "MAE", 1, 1),
    ("at_10_px512", "count_rmse", "RMSE", 1, 1),
)
"""Criterion, figure, title, factor, digits."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRun:
    """One run and the counts of its held-out fields, by source and criterion."""

    told: dict[str, Any]
    counts: Mapping[str, Mapping[str, list[FieldFigures]]]

    def rows(self, source: str, criterion: str) -> list[FieldFigures]:
        """Counts of the fields of one source, or of every one."""
        if source != EVERY:
            return list(self.counts.get(source, {}).get(criterion, []))
        return [row for of_source in self.counts.values() for row in of_source[criterion]]


def write_results(
    experiment: Experiment, out: Path, *, data: Path = Path(), threshold: float | None = None
) -> str:
    """Write ``results.json`` and ``results.md`` of the runs finished so far; return the table.

    Every figure comes from the points in ``predictions.json`` and the annotations as they are now.

    Parameters
    ----------
    threshold
        Of every network, for ``results_at_THRESHOLD.json`` and ``.md``; None: each run's own.

    Raises
    ------
    AnnotationError
        The threshold is below that from which a run kept candidates.
    """
    finished = finished_runs(experiment, out, data=data)
    runs = [
        scored_run(of, threshold=_threshold(experiment, of, finished, data, threshold))
        for of in finished
    ]
    rows = summarise(experiment, runs)
    text = markdown(experiment, rows, finished=len(runs))
    result = {
        "experiment": experiment.name,
        "rows": rows,
        "runs": [run.told | {"figures": _figures(run)} for run in runs],
    }
    for name, content in ((RESULTS_JSON, json.dumps(result, indent=2) + "\n"), (RESULTS_MD, text)):
        path = out / name
        if threshold is not None:
            path = path.with_stem(f"{path.stem}_at_{threshold:g}")
        with atomic_path(path) as partial:
            partial.write_text(content, encoding="utf-8")
    return text


def _threshold(
    experiment: Experiment,
    of: FinishedRun,
    finished: Sequence[FinishedRun],
    data: Path,
    given: float | None,
) -> float | None:
    """The given one for networks: the classical detector has constants in its place."""
    if given is not None and not of.run.variant.classical:
        return given
    return chosen_threshold(experiment, of, finished, data)


def scored_run(of: FinishedRun, *, threshold: float | None = None) -> ScoredRun:
    """Compare what one run found on its held-out fields with what is marked there.

    Parameters
    ----------
    threshold
        None leaves the one that the run chose.
    """
    detections = {name: of.detections[name].at(threshold) for name in of.fields}
    counts = {
        name: {
            criterion.key: compare(
                of.fields[name], found.found, criterion=criterion, classed=found.classed
            )
            for criterion in CRITERIA
        }
        for name, found in detections.items()
    }
    first = next(iter(detections.values()))
    chosen = of.told.get("threshold", first.threshold) if threshold is None else threshold
    return ScoredRun(of.told | {"threshold": chosen}, counts)


def summarise(experiment: Experiment, runs: Sequence[ScoredRun]) -> list[dict[str, Any]]:
    """One row per group of folds, source and variant, in the experiment's order.

    A figure is that of all fields of the group's folds counted together, averaged over seeds; its
    spread is the standard deviation of the single runs.
    """
    rows = []
    for group in dict.fromkeys(fold.group for fold in experiment.folds):
        for source in _sources(experiment, group):
            for variant in experiment.variants:
                named = (group, variant.name)
                mine = [r for r in runs if (r.told["group"], r.told["variant"]) == named]
                mine = [run for run in mine if source == EVERY or source in run.counts]
                if mine:
                    rows.append(_row(group, source, variant.name, mine))
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
        f"Budget of a training: {budget}. Runs finished: {finished} of {planned}. All fields of "
        "the folds counted together, mean over seeds, ± standard deviation of the runs; px: of "
        "the field scaled to 512 x 512 px.",
        "",
        "| folds | fields | variant | runs | " + " | ".join(c[2] for c in shown) + " |",
        "| --- | --- | --- | ---: |" + " ---: |" * len(shown),
    ]
    for row in rows:
        cells = [_cell(row[criterion][figure], digits) for criterion, figure, _, _, digits in shown]
        head = f"{row['group']} | {row['fields']} | {row['variant']} | {row['runs']}"
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _sources(experiment: Experiment, group: str) -> list[str]:
    """Sources that a group's folds hold out, then all together where there are several."""
    held_out = [name for fold in experiment.folds if fold.group == group for name in fold.held_out]
    names = list(dict.fromkeys(held_out))
    return [*names, EVERY] if len(names) > 1 else names


def _row(group: str, source: str, variant: str, runs: Sequence[ScoredRun]) -> dict[str, Any]:
    row: dict[str, Any] = {"group": group, "fields": source, "variant": variant, "runs": len(runs)}
    for criterion in CRITERIA:
        single = [total_figures(run.rows(source, criterion.key)) for run in runs]
        pooled = [
            total_figures(
                [
                    field
                    for run in runs
                    if run.told["seed"] == seed
                    for field in run.rows(source, criterion.key)
                ]
            )
            for seed in dict.fromkeys(run.told["seed"] for run in runs)
        ]
        wanted = [column for column in COLUMNS if column[0] == criterion.key]
        row[criterion.key] = {
            figure: _mean_and_spread(
                [seed[figure] for seed in pooled], [run[figure] for run in single], factor
            )
            for _, figure, _, factor, _ in wanted
        }
    row["steps"] = [run.told["steps"] for run in runs]
    return row


def _figures(run: ScoredRun) -> dict[str, Any]:
    names = [*run.counts, EVERY] if len(run.counts) > 1 else list(run.counts)
    return {
        name: {
            criterion.key: total_figures(run.rows(name, criterion.key)) for criterion in CRITERIA
        }
        for name in names
    }


def _mean_and_spread(
    pooled: Iterable[float | None], single: Iterable[float | None], factor: float
) -> dict[str, Any] | None:
    means = [factor * value for value in pooled if value is not None]
    if not means:
        return None
    known = [factor * value for value in single if value is not None]
    spread = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": round(statistics.fmean(means), 6), "sd": spread and round(spread, 6)}


def _cell(value: Mapping[str, Any] | None, digits: int) -> str:
    if value is None:
        return "-"
    mean = f"{value['mean']:.{digits}f}"
    return mean if value["sd"] is None else f"{mean} ± {value['sd']:.{digits}f}"
