"""The finished slides of an output folder scored again with other settings: ``ki67 score``."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipeline.config import RunConfig, overlaid, validated
from pipeline.errors import ConfigError, OutputError, SlideError
from pipeline.io.done import DoneMark, RunScoring, misfits, read_done
from pipeline.io.results import SCORE_NAME, read_score
from pipeline.io.score import ScoreRecord
from pipeline.io.staging import settle_all
from pipeline.run.basis import read_basis, read_model
from pipeline.run.figures import stored_calibration
from pipeline.run.job import CellRule, Key, SlideJob, changed_parts, prediction_key, score_key
from pipeline.run.lock import locked
from pipeline.run.plan import Plan
from pipeline.run.region_of_interest import absolute_files, score_files, unused_region_files
from pipeline.run.rescore import score_again, scoring_part
from pipeline.run.score_records import record_scoring

Outcome = Literal["scored", "unchanged", "not_scored", "failed_before", "unfinished"]


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What a scoring is asked to change; the rest stays as it was scored last."""

    changes: Mapping[str, Any]
    """Settings by section."""
    as_run: bool = False
    """Start from the settings of the run, not from those of the last scoring."""
    force: bool = False
    """Score slides again whose settings do not change."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """What became of one slide."""

    slide_id: str
    name: str
    outcome: Outcome
    score: ScoreRecord | None = None
    before: ScoreRecord | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Planned:
    """A finished slide and how it is to be scored."""

    job: SlideJob
    mark: DoneMark
    run: RunScoring | None
    before: ScoreRecord
    changed: tuple[str, ...]


Told = Callable[[Rescored, int, int], None]


def rescore_archive(
    out: Path,
    request: ScoreRequest,
    *,
    on_slide: Told,
    report: Callable[[Path], object] | None = None,
) -> tuple[list[Rescored], list[str]]:
    """Score every finished slide of ``out`` again; no slide is opened and no network loaded.

    All slides are looked at before the first is written: settings that cannot be applied change
    nothing. The table, the QuPath pack and the report are written anew at the end.

    Parameters
    ----------
    on_slide
        Told of each slide, its number and their total.
    report
        Called with ``out`` at the end.

    Returns
    -------
    What became of each slide, and a line for each summary that could not be written.

    Raises
    ------
    ConfigError
        A setting is unknown, or changes which cells are found and so needs `ki67 run`.
    LockedError
        A run holds ``out``.
    OutputError
        ``out`` cannot be written.
    """
    if not (out / "slides").is_dir():
        raise ConfigError(f"{out}: no slides/ in it; give the folder of `ki67 run --out`")
    out = out.resolve()
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    with locked(out):
        settle_all(out)
        folders = sorted(path for path in (out / "slides").iterdir() if path.is_dir())
        planned = [_look_at(folder, out, request, run_id) for folder in folders]
        ended: list[Rescored] = []
        try:
            for number, slide in enumerate(planned, start=1):
                ended.append(_score(slide, request) if isinstance(slide, _Planned) else slide)
                on_slide(ended[-1], number, len(planned))
        finally:
            scored = [item.score for item in ended if item.outcome == "scored" and item.score]
            notices = record_scoring(out, run_id, request.changes, scored, report)
    jobs = [slide.job for slide in planned if isinstance(slide, _Planned)]
    return ended, [*unused_region_files(jobs), *notices]


def _look_at(folder: Path, out: Path, request: ScoreRequest, run_id: str) -> _Planned | Rescored:
    slide_id, mark = folder.name, read_done(folder)
    if mark is None or not (folder / SCORE_NAME).exists():
        return Rescored(slide_id, slide_id, "unfinished", reason="run `ki67 run` again")
    before = read_score(folder / SCORE_NAME)
    name = before.slide.name
    if before.status == "failed":
        reason = before.reason or ""
        return Rescored(slide_id, name, "failed_before", before, before, reason)
    try:
        if not (problems := misfits(folder, mark)):
            return _planned(folder, out, mark, request, run_id, before)
        reason = f"{problems[0]}; run the same `ki67 run` again"
    except (SlideError, OutputError) as error:
        reason = str(error)
    return Rescored(slide_id, name, "not_scored", before, before, reason)


def _planned(
    folder: Path,
    out: Path,
    mark: DoneMark,
    request: ScoreRequest,
    run_id: str,
    before: ScoreRecord,
) -> _Planned:
    card, weights_sha256, plan = read_model(folder)
    last = mark.settings or {}
    base = mark.run.settings if request.as_run and mark.run else last
    config = absolute_files(validated(RunConfig, overlaid(base, request.changes)))
    job = SlideJob(
        slide_id=folder.name,
        path="",
        name=before.slide.name,
        out=str(out),
        config=config,
        model_folder="",
        weights_sha256=weights_sha256,
        run_id=run_id,
        group=before.slide.group,
    )
    prediction = prediction_key(job, card, plan.slide.fingerprint)
    _check_prediction(job, plan, mark, prediction, last)
    threshold = CellRule.of(config, card).threshold
    stored_calibration(config, weights_sha256=weights_sha256, threshold=threshold)
    now, after = scoring_part(mark.keys, prediction), score_key(job, card, score_files(job))
    run = mark.run or RunScoring(now, last)
    changed = tuple(changed_parts(now, after))
    if changed_parts(dict(run.keys), after):
        return _Planned(job, mark, run, before, changed)
    # the run's own scoring, however it was asked for: its settings as they were written then
    own = validated(RunConfig, run.settings)
    return _Planned(replace(job, config=own), mark, None, before, changed)


def _check_prediction(
    job: SlideJob, plan: Plan, mark: DoneMark, prediction: Key, last: Mapping[str, Any]
) -> None:
    """Refuse settings that cells were not found with."""
    threshold = job.config.prediction.threshold
    if threshold is not None and threshold < plan.floor:
        raise ConfigError(
            f"prediction.threshold={threshold:g} is below {plan.floor:g}, the floor that peaks of "
            f"{job.name} were kept down to; use `ki67 run` with that threshold"
        )
    names = [name for name in prediction if prediction[name] != mark.keys.get(name)]
    # a slide that was run with a threshold below the card's floor holds more than is needed
    names = [name for name in names if name != "peak floor"]
    if job.config.prediction.model != last.get("prediction", {}).get("model"):
        names.append("prediction.model")
    if names:
        raise ConfigError(
            f"{', '.join(names)}: differ from what the cells of {job.name} were found with; "
            "`ki67 score` changes no cells, use `ki67 run`"
        )


def _score(slide: _Planned, request: ScoreRequest) -> Rescored:
    job, before = slide.job, slide.before
    if not slide.changed and not request.force:
        return Rescored(job.slide_id, job.name, "unchanged", before, before)
    try:
        score = score_again(job, read_basis(job.folder), slide.mark, run=slide.run)
    except SlideError as error:
        return Rescored(job.slide_id, job.name, "not_scored", before, before, str(error))
    except OutputError as error:
        if error.__cause__ is not None and isinstance(error.__cause__, OSError):
            raise  # a full or read-only disk stops all; damaged results are this slide's
        return Rescored(job.slide_id, job.name, "not_scored", before, before, str(error))
    changed = ", ".join(slide.changed)
    return Rescored(job.slide_id, job.name, "scored", score, before, changed)
