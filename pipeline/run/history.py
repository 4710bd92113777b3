"""The history of an output folder: rows of the ledger made from result files, and built again.

A run's own record (``runs/<run_id>.json``) holds every row it put into the ledger, so the ledger is
always the same function of files.
"""

import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import digest
from pipeline.errors import OutputError
from pipeline.io.files import PARTIAL_SUFFIX, output_errors
from pipeline.io.fingerprint import Member, SlideContent
from pipeline.io.ledger import LEDGER_NAME, Ledger, LedgerRun, LedgerSlide
from pipeline.io.ledger_rows import row_of
from pipeline.io.results import DONE_NAME, SCORE_NAME, read_score
from pipeline.io.score import ScoreRecord
from pipeline.run.job import CONTENT_PART
from pipeline.run.plan import read_json_object, utc_now, work_folder

NEW_OUTCOMES = ("scored", "failed")
"""What makes a row; a slide that was done or known to fail is only counted."""

_COUNTED = ("scored", "already_done", "failed", "failed_before", "deferred", "skipped")


def slide_entry(
    score: ScoreRecord, *, name: str, outcome: str, seconds: float | None
) -> dict[str, Any]:
    """What a run's record says of a slide, whatever became of it."""
    return {
        "slide_id": score.slide.id,
        "name": name,
        "outcome": outcome,
        "status": score.status,
        "reason": score.reason,
        "seconds": seconds,
    }


def made_entry(
    entry: Mapping[str, Any], folder: Path, score: ScoreRecord, *, run_id: str, path: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Add to an entry what was made, and return it with the settings it was made with.

    Parameters
    ----------
    folder
        Of the slide: its done mark, or the work of a failed one, says with which keys.
    """
    keys, made = _keys_and_making(folder)
    mine = made if made.get("run_id") == run_id else {}
    settings = {name: value for name, value in keys.items() if name != CONTENT_PART}
    counts, origin = score.counts, score.provenance
    row = {
        "path": path or str(made.get("path", "")),
        "index_pct": score.ki67.index_pct,
        "positive": counts.positive,
        "negative": counts.negative,
        "cells": counts.total,
        "analysed_mm2": score.area_mm2.analysed,
        "model": origin.weights,
        "weights_sha256": origin.weights_sha256,
        "config_sha256": origin.config_sha256,
        "fingerprint": keys.get(CONTENT_PART) or score.slide.fingerprint,
        "content_sha256": _content_sha256(made),
        "key_sha256": digest(keys) if keys else None,
        "settings_sha256": digest(settings) if settings else None,
        "regions": made.get("regions"),
        "pixels": made.get("pixels"),
        "host_class": mine.get("host_class"),
        "finished": mine.get("finished") or utc_now(),
    }
    return {**entry, **row}, settings


def run_row(record: Mapping[str, Any]) -> LedgerRun:
    """Row of a run, from its record."""
    found = Counter(entry.get("outcome") for entry in record.get("slides", ()))
    ended = record.get("status") != "running"
    counts = {name: found[name] if ended else None for name in _COUNTED}
    model, inputs = record.get("model") or {}, record.get("inputs")
    stored = {
        **record,
        **counts,
        "started": record.get("started") or record.get("ended") or "",
        "version": (record.get("versions") or {}).get("ki67-pipeline") or record.get("version"),
        "kind": record.get("kind", "run"),
        "model": model.get("name"),
        "weights_sha256": model.get("weights_sha256"),
        "inputs": None if inputs is None else len(inputs),
    }
    run: LedgerRun = row_of(LedgerRun, stored)
    return run


def slide_rows(record: Mapping[str, Any]) -> list[LedgerSlide]:
    """Rows of the slides that a run made something of, from its record."""
    return [
        row_of(LedgerSlide, {**entry, "run_id": record["run_id"]})
        for entry in record.get("slides", ())
        if "path" in entry
    ]


def run_records(out: Path) -> Iterator[dict[str, Any]]:
    """Records of all runs that can be read, by run id, which is by time."""
    for path in sorted((out / "runs").glob("*.json")):
        record = read_json_object(path)
        if record is not None and record.get("run_id") == path.stem:
            yield record


def rebuild_ledger(out: Path) -> tuple[int, int]:
    """Build the ledger again from the files and put it in place of the old one.

    Call it only while the folder's lock is held. Returns how many runs and rows of slides it has.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    runs, rows, settings = _from_records(out)
    for row, made_with in _unrecorded(out, {(row.run_id, row.slide_id) for row in rows}):
        rows.append(row)
        settings[row.settings_sha256 or ""] = made_with
        runs.setdefault(row.run_id, LedgerRun(row.run_id, row.finished or ""))
    partial = out / f".{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
    try:
        with Ledger(partial) as ledger:
            for run in runs.values():
                ledger.record_run(run)
            ledger.record(*rows)
            ledger.record_settings({name: parts for name, parts in settings.items() if name})
        with output_errors(out):
            for ending in ("-wal", "-shm"):  # of the ledger that goes
                (out / f"{LEDGER_NAME}{ending}").unlink(missing_ok=True)
            os.replace(partial, out / LEDGER_NAME)  # noqa: PTH105 (one word for one step)
    finally:
        partial.unlink(missing_ok=True)
    return len(runs), len(rows)


def _from_records(
    out: Path,
) -> tuple[dict[str, LedgerRun], list[LedgerSlide], dict[str, Mapping[str, str]]]:
    runs: dict[str, LedgerRun] = {}
    rows: list[LedgerSlide] = []
    settings: dict[str, Mapping[str, str]] = {}
    for record in run_records(out):
        if record.get("status") == "running":  # nobody holds the folder but us
            record["status"] = "died"
            record["slides"] = ()
        runs[record["run_id"]] = run_row(record)
        rows += slide_rows(record) or _rows_of_version_1(record)
        settings |= record.get("settings") or {}
    return runs, rows, settings


def _rows_of_version_1(record: Mapping[str, Any]) -> list[LedgerSlide]:
    """Rows of a run whose record has neither place nor numbers of its slides."""
    return [
        row_of(
            LedgerSlide,
            {
                **entry,
                "run_id": record["run_id"],
                "path": entry.get("name", ""),
                "finished": record.get("ended"),
                "config_sha256": record.get("config_sha256"),
            },
        )
        for entry in record.get("slides", ())
        if entry.get("outcome") in NEW_OUTCOMES
    ]


def _unrecorded(
    out: Path, known: Iterable[tuple[str, str]]
) -> Iterator[tuple[LedgerSlide, dict[str, str]]]:
    """Rows of slides whose run never wrote its end, from their done marks."""
    there = set(known)
    for path in sorted(out.glob(f"slides/*/{DONE_NAME}")):
        folder = path.parent
        run_id = _keys_and_making(folder)[1].get("run_id")
        if not run_id or (run_id, folder.name) in there:
            continue
        with suppress(OutputError):
            score = read_score(folder / SCORE_NAME)
            outcome = "failed" if score.status == "failed" else "scored"
            entry = slide_entry(score, name=score.slide.name, outcome=outcome, seconds=None)
            entry, settings = made_entry(entry, folder, score, run_id=run_id, path="")
            yield row_of(LedgerSlide, {**entry, "run_id": run_id}), settings


def _keys_and_making(folder: Path) -> tuple[dict[str, str], Mapping[str, Any]]:
    mark = read_json_object(folder / DONE_NAME)
    if mark is None:
        begun = read_json_object(work_folder(folder) / "key.json") or {}
        keys = {**begun.get("prediction", {}), **begun.get("score", {})}
        return keys, {"members": begun.get("members", {})}
    return dict(mark.get("keys") or {}), dict(mark.get("made") or {})


def _content_sha256(made: Mapping[str, Any]) -> str | None:
    """Sum over every byte of a slide's files; of many files, over their sums."""
    members: Mapping[str, Mapping[str, Any]] = made.get("members", {})
    content = SlideContent("", {name: row_of(Member, kept) for name, kept in members.items()})
    return content.sha256
