"""Every result file read again: what does not hold is named, and its done mark withdrawn."""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import ConfigError, OutputError
from pipeline.io.done import DoneMark, read_done, unknown_files, unsound_files, withdraw_done
from pipeline.io.ledger import LEDGER_NAME
from pipeline.io.ledger_reading import check_ledger
from pipeline.io.results import (
    DONE_NAME,
    SCORE_NAME,
    SLIDE_COLUMNS,
    ScoreRecord,
    SlideIdentity,
    read_score,
    write_score,
    write_slides_csv,
)
from pipeline.io.staging import STAGED_NAME, settle_staged
from pipeline.io.table_check import differing_rows
from pipeline.run.lock import locked
from pipeline.run.plan import read_json_object
from pipeline.run.records import known_scores

THREADS_MOST = 4
"""Hashing is faster than disks; more readers only make them seek."""

TABLE_NAME = "slides.csv"
State = Literal["holds", "damaged", "unfinished", "unsettled"]


@dataclass(frozen=True, slots=True)
class SlideCheck:
    """What reading a slide's files again has shown.

    Attributes
    ----------
    state
        ``unfinished``: it has no done mark and claims nothing; ``unsettled``: `ki67 score` was
        interrupted in it, and the next command that may write settles that.
    problems
        What does not hold, one line each.
    unknown
        Files that no run wrote; they harm nothing.
    withdrawn
        Whether its done mark was taken away, so that the next run makes it again.
    """

    slide_id: str
    state: State
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    withdrawn: bool = False
    mark: DoneMark | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What holds of an output folder."""

    slides: tuple[SlideCheck, ...]
    batch: tuple[str, ...]
    """What does not hold of the files of the whole batch."""
    withdrawn: tuple[str, ...] = ()
    """Slides whose done mark was taken away."""

    @property
    def holds(self) -> bool:
        """Whether everything does."""
        return not self.batch and all(slide.state != "damaged" for slide in self.slides)


Told = Callable[[SlideCheck, int, int], None]


def verify_archive(
    out: Path, slide_ids: Collection[str] = (), *, on_slide: Told, threads: int | None = None
) -> Verification:
    """Read all files again and compare them with the done marks; nothing is changed.

    Parameters
    ----------
    slide_ids
        Ids, or beginnings of them; none for all slides and the files of the batch.
    on_slide
        Told of each slide as it ends, the number of those that have ended, and of all.

    Raises
    ------
    ConfigError
        There is no such output folder or slide.
    """
    folders = _chosen(out, slide_ids)
    workers = threads or min(THREADS_MOST, os.cpu_count() or 1)
    checks: dict[str, SlideCheck] = {}
    with ThreadPoolExecutor(workers) as pool:
        under_way = [pool.submit(verify_slide, folder) for folder in folders]
        for number, future in enumerate(as_completed(under_way), start=1):
            check = future.result()
            checks[check.slide_id] = check
            on_slide(check, number, len(folders))
    ordered = tuple(checks[folder.name] for folder in folders)
    return Verification(ordered, () if slide_ids else tuple(batch_problems(out)))


def verify_slide(folder: Path) -> SlideCheck:
    """Read the files of one slide again."""
    slide_id = folder.name
    if (folder / STAGED_NAME).is_dir():
        return SlideCheck(slide_id, "unsettled", ("a scoring was interrupted here",))
    mark = read_done(folder)
    if mark is None:
        if (folder / DONE_NAME).exists():
            return SlideCheck(slide_id, "damaged", (f"{DONE_NAME}: damaged",))
        return SlideCheck(slide_id, "unfinished")
    problems = [_said(problem) for problem in unsound_files(folder, mark)]
    if SCORE_NAME not in mark.files:
        problems.append(f"{DONE_NAME}: names no {SCORE_NAME}")
    elif not problems:
        problems = _score_problems(folder)
    unknown = tuple(unknown_files(folder, mark))
    state: State = "damaged" if problems else "holds"
    return SlideCheck(slide_id, state, tuple(problems), unknown, mark=mark)


def batch_problems(out: Path) -> list[str]:
    """Name what does not hold of the table, the records of runs and the ledger."""
    problems = differing_rows(out / TABLE_NAME, known_scores(out).values(), tuple(SLIDE_COLUMNS))
    for path in sorted((out / "runs").glob("*.json")):
        record = read_json_object(path)
        if record is None or record.get("run_id") != path.stem:
            problems.append(f"runs/{path.name}: damaged; what it told of that run is lost")
    return problems + check_ledger(out / LEDGER_NAME)


def withdraw(
    out: Path, found: Verification, report: Callable[[Path], object] | None = None
) -> Verification:
    """Take away the done marks that do not hold, and put the table right.

    The slides stand as failed until the next run makes them again. What changed since it was
    verified, by a run or a scoring, is read again first.

    Raises
    ------
    LockedError
        A run holds the folder; nothing was changed.
    OutputError
        The folder cannot be written.
    """
    with locked(out):
        checks = tuple(_settled(out, check) for check in found.slides)
        gone = tuple(check.slide_id for check in checks if check.withdrawn)
        if gone or found.batch:
            known = known_scores(out)
            write_slides_csv(out / TABLE_NAME, [known[slide_id] for slide_id in sorted(known)])
        if gone and report is not None:
            report(out)
    return Verification(checks, found.batch, gone)


def _settled(out: Path, check: SlideCheck) -> SlideCheck:
    folder = out / "slides" / check.slide_id
    if check.state == "unsettled":
        settle_staged(folder)
        check = verify_slide(folder)
    if check.state != "damaged":
        return check
    if read_done(folder) != check.mark:
        check = verify_slide(folder)
        if check.state != "damaged":
            return check
    # first the mark: a crash after this line leaves a slide that claims nothing
    withdraw_done(folder, check.problems)
    write_score(folder / SCORE_NAME, _withdrawn_score(folder, check.problems))
    return SlideCheck(check.slide_id, "damaged", check.problems, check.unknown, withdrawn=True)


def _withdrawn_score(folder: Path, problems: Sequence[str]) -> ScoreRecord:
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    reason = f"withdrawn by `ki67 verify`: {problems[0]}{more}; run the same `ki67 run` again"
    try:
        before = read_score(folder / SCORE_NAME)
    except OutputError:
        slide = SlideIdentity(id=folder.name, name=folder.name)
        return ScoreRecord(slide=slide, status="failed", reason=reason)
    return ScoreRecord(
        slide=before.slide,
        status="failed",
        reason=reason,
        caveat=before.caveat,
        provenance=before.provenance,
    )


def _score_problems(folder: Path) -> list[str]:
    """A score may be what was written and still not be this slide's."""
    try:
        score = read_score(folder / SCORE_NAME)
    except OutputError as error:
        return [str(error)]
    named = score.slide.id
    return [] if named == folder.name else [f"{SCORE_NAME}: is of {named}, not of this slide"]


def _said(problem: str) -> str:
    """Say what a chunk is: its name alone says little."""
    name, _, what = problem.rpartition(": ")
    is_chunk = ".zarr/" in name and Path(name).suffix != ".json" and "/.z" not in name
    return f"{name}: {what} (Zarr chunk)" if is_chunk else problem


def _chosen(out: Path, slide_ids: Collection[str]) -> list[Path]:
    if not (out / "slides").is_dir():
        raise ConfigError(f"{out}: no slides/ in it; give the folder of `ki67 run --out`")
    folders = sorted(path for path in (out / "slides").iterdir() if path.is_dir())
    if not slide_ids:
        return folders
    found = [path for path in folders if path.name.startswith(tuple(slide_ids))]
    for slide_id in slide_ids:
        if not any(path.name.startswith(slide_id) for path in found):
            raise ConfigError(
                f"{slide_id}: no such slide in {out}; `ki67 status {out} --json` lists them"
            )
    return found
