"""What is written about a scoring beside the slides: record, table, ledger, pack, report."""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.io.cases import write_cases
from pipeline.io.ledger import LEDGER_NAME, Ledger
from pipeline.io.qupath import write_qupath
from pipeline.io.results import write_run_json, write_slides_csv
from pipeline.io.score import ScoreRecord
from pipeline.run.history import made_entry, run_row, slide_entry, slide_rows
from pipeline.run.plan import utc_now
from pipeline.run.records import known_scores

logger = logging.getLogger(__name__)


def record_scoring(
    out: Path,
    run_id: str,
    changes: Mapping[str, Any],
    scored: Sequence[ScoreRecord],
    report: Callable[[Path], object] | None,
) -> list[str]:
    """Write the table and everything that is made from the scores; the scores are safe already.

    Parameters
    ----------
    changes
        Settings that were asked for.
    scored
        Slides that have a new score.
    report
        Writes the report; None writes none.

    Returns
    -------
    A line for each file but the table that could not be written.

    Raises
    ------
    OutputError
        The table or the record cannot be written.
    """
    known = known_scores(out)
    rows = [known[slide_id] for slide_id in sorted(known)]
    write_slides_csv(out / "slides.csv", rows)
    write_cases(out, rows)
    ended = utc_now()
    record = _record(out, run_id, changes, scored, ended)
    write_run_json(out, run_id, record)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("ledger", lambda: _into_ledger(out, record)),
        ("QuPath pack", lambda: write_qupath(out, rows)),
    ]
    if report is not None:
        steps.append(("report", lambda: report(out)))
    notices = []
    for name, write in steps:
        try:
            write()
        except Exception as error:  # the scores are safe, whatever goes wrong here
            logger.info("%s", name, exc_info=error)
            notices.append(
                f"the {name} could not be written ({type(error).__name__}: {error}); every score "
                "is written, run the same command to try again"
            )
    return notices


def _record(
    out: Path, run_id: str, changes: Mapping[str, Any], scored: Sequence[ScoreRecord], ended: str
) -> dict[str, Any]:
    settings, entries = dict[str, dict[str, str]](), []
    for score in scored:
        folder, name = out / "slides" / score.slide.id, score.slide.name
        entry = slide_entry(score, name=name, outcome="scored", seconds=None)
        entry, made_with = made_entry(entry, folder, score, run_id=run_id, path="")
        settings[entry["settings_sha256"]] = made_with
        entries.append(entry)
    return {
        "schema": 1,
        "run_id": run_id,
        "kind": "score",
        "status": "finished",
        "started": ended,
        "ended": ended,
        "exit_code": 0,
        "host": socket.gethostname(),
        "version": __version__,
        "changes": dict(changes),
        "settings": settings,
        "slides": entries,
    }


def _into_ledger(out: Path, record: Mapping[str, Any]) -> None:
    with Ledger(out / LEDGER_NAME) as ledger:
        ledger.record_run(run_row(record))
        ledger.record_settings(record["settings"])
        ledger.record(*slide_rows(record))
