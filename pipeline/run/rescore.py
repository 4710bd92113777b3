"""A finished slide scored again from its basis: no slide, no model; all its files change as one."""

import fnmatch
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.config import WITHOUT_RESULTS, RunConfig
from pipeline.errors import OutputError
from pipeline.io.crops import CROPS_NAME, INDEX_NAME, renew_crops
from pipeline.io.done import (
    DONE_NAME,
    DoneMark,
    RunScoring,
    describe_files,
    done_json,
    misfits,
    read_done,
)
from pipeline.io.files import write_json_atomic
from pipeline.io.fingerprint import changed_members
from pipeline.io.results import SCORE_NAME, read_score
from pipeline.io.score import ScoreRecord
from pipeline.io.staging import commit_staged, staging
from pipeline.model.card import ModelCard
from pipeline.run.basis import SlideBasis, read_basis, write_model
from pipeline.run.job import Key, SlideJob, changed_parts, score_key
from pipeline.run.made import Members, keep_sums, run_of, with_sums
from pipeline.run.outputs import score_basis
from pipeline.run.region_of_interest import load_roi, roi_missing, score_files
from pipeline.run.scoring import ScoredWith, check_unreadable

NOT_ALWAYS_WRITTEN = ("cells*.geojson.gz", "qc.jpg")
"""Result files that one scoring writes and another does not."""


def standing_of(
    job: SlideJob, card: ModelCard, key: Key, score: Key, members: Members
) -> dict[str, Any] | None:
    """Tell what stands of an earlier run; where only the scoring differs, score again.

    Results that `ki67 score` made stay as they are: a nightly run never undoes them.

    Returns
    -------
    dict or None
        ``state`` ``done`` or ``scored`` and, where there is something to say, ``reason``; None
        where the slide is to be predicted.

    Raises
    ------
    RegionOfInterestError
        The slide's region of interest cannot be read.
    UnreadableSlideError
        More of the slide is damaged than the settings allow now.
    OutputError
        The folder cannot be written.
    """
    found = standing(job, key, score, members)
    if found is None:
        return None
    if found.state == "done":
        keep_sums(job.folder, found.mark, members)
        return {"state": "done", "reason": found.reason} if found.reason else {"state": "done"}
    try:
        basis = read_basis(job.folder)
    except OutputError:  # of an earlier version
        return None
    known = with_sums(found.mark, members)
    score_again(job, replace(basis, card=card), known, run=None)
    return {"state": "scored", "reason": found.reason}


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of an earlier run and holds."""

    state: Literal["done", "score"]
    """``score``: to be scored again, not predicted."""
    mark: DoneMark
    reason: str = ""


def standing(
    job: SlideJob, key: Key, score: Key, members: Members | None = None
) -> Standing | None:
    """Tell what stands of an earlier run; None where the slide is to be predicted. Read only.

    Parameters
    ----------
    members
        Files of the slide; sums over every byte count where both sides have them.
    """
    mark = read_done(job.folder)
    if mark is None or misfits(job.folder, mark):
        return None
    if any(mark.keys.get(name) != value for name, value in key.items()):
        return None
    if changed_members(mark.made.get("members", {}), members or {}):
        return None
    try:
        failed = read_score(job.folder / SCORE_NAME).status == "failed"
    except OutputError:  # damaged: this slide's matter, not the batch's
        return None
    changed = changed_parts(scoring_part(mark.keys, key), score)
    if failed:
        return None if changed or job.retry_failed else Standing("done", mark)
    if not changed:
        return Standing("done", mark)
    words = ", ".join(changed)
    if mark.run is not None:
        return Standing("done", mark, f"stays as `ki67 score` left it; {words} differ here")
    return Standing("score", mark, f"scored again, not predicted: {words} changed")


def score_again(
    job: SlideJob, basis: SlideBasis, mark: DoneMark, *, run: RunScoring | None
) -> ScoreRecord:
    """Score a finished slide with the settings of ``job``.

    A crash leaves the old state or the new one, never a mixture.

    Parameters
    ----------
    mark
        Of the slide as it stands.
    run
        How the run scored it, where that is another way than this one.

    Raises
    ------
    RegionOfInterestError, UnreadableSlideError
        See :func:`standing_of`; nothing was changed.
    OutputError
        The folder cannot be written.
    """
    check_unreadable(job, basis)
    folder, roi = job.folder, load_roi(job, basis.plan)
    made = read_score(folder / SCORE_NAME).provenance
    scored = ScoredWith(
        started=made.started or "",
        ended=made.ended or "",
        roi=roi,
        roi_missing=roi is None and roi_missing(job),
    )
    key = score_key(job, basis.card, score_files(job))
    with staging(folder) as staged:
        score, found = score_basis(job, basis, staged, scored)
        write_model(staged, basis)
        if (folder / CROPS_NAME / INDEX_NAME).exists():
            (staged / CROPS_NAME).mkdir()
            shutil.copyfile(folder / CROPS_NAME / INDEX_NAME, staged / CROPS_NAME / INDEX_NAME)
            renew_crops(staged / CROPS_NAME, found.cells)
        removed = _removed(mark, staged)
        kept = _kept(mark, staged, removed)
        new = DoneMark(
            keys=prediction_part(mark.keys, key, run or mark.run) | key,
            files=kept | describe_files(staged),
            settings=scoring_settings(job.config),
            run=run,
            made={**mark.made, **run_of(job)},
        )
        write_json_atomic(staged / DONE_NAME, done_json(new))
        commit_staged(folder, staged, removed=removed)
    return score


def scoring_settings(config: RunConfig) -> dict[str, Any]:
    """All settings that can change a result, as plain values."""
    return config.model_dump(mode="json", exclude=set(WITHOUT_RESULTS))


def scoring_part(keys: Mapping[str, str], prediction: Mapping[str, str]) -> Key:
    """The parts of a done mark's keys that are not of the prediction key."""
    return {name: value for name, value in keys.items() if name not in prediction}


def prediction_part(keys: Mapping[str, str], score: Key, run: RunScoring | None) -> Key:
    """The parts of a done mark's keys that are of no scoring, this one or the run's."""
    known = {*score, *(run.keys if run else ()), "roi.include", "roi.exclude"}
    return {name: value for name, value in keys.items() if name not in known}


def _removed(mark: DoneMark, staged: Path) -> list[str]:
    return [
        name
        for name in mark.files
        if any(fnmatch.fnmatch(name, pattern) for pattern in NOT_ALWAYS_WRITTEN)
        and not (staged / name).exists()
    ]


def _kept(mark: DoneMark, staged: Path, removed: list[str]) -> dict[str, Mapping[str, Any]]:
    """Entries of the files that stay; those of a Zarr group that is replaced whole go."""
    whole = {path.parent.name for path in staged.glob("*/zarr.json")}
    whole |= {path.parent.name for path in staged.glob("*/.zgroup")}
    return {
        name: entry
        for name, entry in mark.files.items()
        if name not in removed and name.split("/")[0] not in whole
    }
