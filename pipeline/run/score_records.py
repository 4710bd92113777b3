"""What is written about a scoring beside the slides: record, table, ledger, pack, report."""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.io.ledger import LEDGER_NAME, Ledger, LedgerRun, LedgerSlide
from pipeline.io.qupath import write_qupath
from pipeline.io.results import write_run_json, write_slides_csv
from pipeline.io.score import ScoreRecord
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
    ended = utc_now()
    _write_record(out, run_id, changes, scored, ended)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("ledger", lambda: _into_ledger(out, run_id, scored, ended)),
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


def _write_record(
    out: Path, run_id: str, changes: Mapping[str, Any], scored: Sequence[ScoreRecord], ended: str
) -> None:
    record = {
        "schema": 1,
        "run_id": run_id,
        "kind": "score",
        "status": "finished",
        "ended": ended,
        "host": socket.gethostname(),
        "version": __version__,
        "changes": dict(changes),
        "slides": [
            {"slide_id": score.slide.id, "name": score.slide.name, "status": score.status}
            for score in scored
        ],
    }
    write_run_json(out, run_id, record)


def _into_ledger(out: Path, run_id: str, scored: Sequence[ScoreRecord], ended: str) -> None:
    with Ledger(out / LEDGER_NAME) as ledger:
        paths = ledger.slide_paths()
        ledger.record_run(
            LedgerRun(run_id=run_id, started=ended, ended=ended, exit_code=0, version=__version__)
        )
        ledger.record(
            *(
                LedgerSlide(
                    run_id=run_id,
                    slide_id=score.slide.id,
                    path=str(paths[score.slide.id]),
                    status=score.status,
                    reason=score.reason,
                    index_pct=score.ki67.index_pct,
                    positive=score.counts.positive,
                    negative=score.counts.negative,
                    analysed_mm2=score.area_mm2.analysed,
                    model=score.provenance.weights,
                    weights_sha256=score.provenance.weights_sha256,
                    finished=ended,
                )
                for score in scored
                if score.slide.id in paths
            )
        )
