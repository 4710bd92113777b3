"""What is written about a run beside the slides: its record, the table, the ledger, the report."""

import logging
import platform
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.config import RunConfig
from pipeline.errors import OutputError
from pipeline.io.cases import write_cases
from pipeline.io.ledger import LEDGER_NAME, Ledger
from pipeline.io.remote import shown
from pipeline.io.results import SCORE_NAME, read_score, write_run_json, write_slides_csv
from pipeline.io.score import ScoreRecord
from pipeline.io.sources import printable
from pipeline.model.card import ModelCard
from pipeline.run.events import EXIT_INTERRUPTED, RunSummary, SlideRecord
from pipeline.run.history import NEW_OUTCOMES, made_entry, run_row, slide_entry, slide_rows
from pipeline.run.job import SlideJob
from pipeline.run.made import host_class
from pipeline.run.plan import utc_now

logger = logging.getLogger(__name__)

_LIBRARIES = (
    "dask",
    "distributed",
    "numpy",
    "openslide-bin",
    "openslide-python",
    "scipy",
    "tifffile",
    "tiffslide",
    "torch",
    "zarr",
)


class RunRecords:
    """The records of one run; only the driver writes them.

    Parameters
    ----------
    jobs
        The slides, in order.
    """

    def __init__(
        self, out: Path, config: RunConfig, card: ModelCard, jobs: Sequence[SlideJob]
    ) -> None:
        self.run_id = jobs[0].run_id
        self._out, self._config, self._card = out, config, card
        self._jobs = {job.slide_id: job for job in jobs}
        self._ledger_error = ""
        self._started = utc_now()
        self._table = known_scores(out)
        self._made: dict[str, dict[str, Any]] = {}
        self._settings: dict[str, dict[str, str]] = {}

    def begin(self) -> None:
        """Say that the run has begun.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        self._write("running", ())
        self._in_ledger(lambda ledger: ledger.mark_died(but=self.run_id))

    def add(self, record: SlideRecord) -> None:
        """Keep one slide; a new score is in the table and the ledger at once.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        self._table[record.slide_id] = self._shown(record)
        if record.outcome not in NEW_OUTCOMES:
            return
        self._write_table()
        job = self._jobs[record.slide_id]
        entry, settings = made_entry(
            _entry(record),
            job.folder,
            record.score,
            run_id=self.run_id,
            path=printable(shown(job.path)),
        )
        self._made[record.slide_id] = entry
        if entry["settings_sha256"]:
            self._settings[entry["settings_sha256"]] = settings
        self._in_ledger(lambda ledger: self._keep_slide(ledger, entry))

    def end(self, status: str, records: Sequence[SlideRecord]) -> None:
        """Say how the run ended, and write the whole table.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        self._write_table()
        write_cases(self._out, self._table.values())
        self._write(status, records)

    def publish(self, report: Callable[[Path], object] | None) -> list[str]:
        """Write what can be made again from the scores; return a line for each that failed."""
        notices = [self._ledger_error] if self._ledger_error else []
        steps: list[tuple[str, Callable[[Path], object]]] = [("QuPath pack", self._write_qupath)]
        if report is not None:
            steps.append(("report", report))
        for name, write in steps:
            try:
                write(self._out)
            except Exception as error:  # the scores are safe, whatever goes wrong here
                logger.info("%s", name, exc_info=error)
                notices.append(
                    f"the {name} could not be written ({type(error).__name__}: {error}); "
                    "every score is written, run the same command to try again"
                )
        return notices

    def _keep_slide(self, ledger: Ledger, entry: dict[str, Any]) -> None:
        ledger.record_settings(self._settings_of(entry))
        ledger.record(*slide_rows({"run_id": self.run_id, "slides": [entry]}))

    def _settings_of(self, entry: dict[str, Any]) -> dict[str, dict[str, str]]:
        name = entry["settings_sha256"]
        return {name: self._settings[name]} if name else {}

    def _in_ledger(self, write: Callable[[Ledger], object]) -> None:
        """Write into the ledger; it is history, so a run does not end because of it."""
        try:
            with Ledger(self._out / LEDGER_NAME) as ledger:
                write(ledger)
        except OutputError as error:
            self._ledger_error = str(error)

    def _write_table(self) -> None:
        rows = [self._table[slide_id] for slide_id in sorted(self._table)]
        write_slides_csv(self._out / "slides.csv", rows)

    def _write_qupath(self, out: Path) -> None:
        # here: zarr, pyarrow and scipy, for which no run has to wait before its workers start
        from pipeline.io.qupath import write_qupath

        write_qupath(out, [self._table[slide_id] for slide_id in sorted(self._table)])

    def _write(self, status: str, records: Sequence[SlideRecord]) -> None:
        ended = status != "running"
        record = {
            "schema": 1,
            "run_id": self.run_id,
            "kind": "run",
            "status": status,
            "started": self._started,
            "ended": utc_now() if ended else None,
            "exit_code": self._exit_code(status, records),
            "host": socket.gethostname(),
            "host_class": host_class(self._config.prediction.device),
            "versions": _versions(),
            "config": self._config.model_dump(mode="json"),
            "config_sha256": self._config.digest(),
            "model": self._card.model_dump(mode="json"),
            "inputs": [job.name for job in self._jobs.values()],
            "slide_ids": list(self._jobs),
            "settings": self._settings,
            "slides": [self._entry(record) for record in records],
        }
        write_run_json(self._out, self.run_id, record)
        self._in_ledger(lambda ledger: ledger.record_run(run_row(record)))

    def _exit_code(self, status: str, records: Sequence[SlideRecord]) -> int | None:
        if status == "interrupted":
            return EXIT_INTERRUPTED
        return RunSummary(self.run_id, tuple(records)).exit_code if status == "finished" else None

    def _entry(self, record: SlideRecord) -> dict[str, Any]:
        """What the run's record says of a slide: the ledger's row where there is one."""
        return self._made.get(record.slide_id) or _entry(record)

    def _shown(self, record: SlideRecord) -> ScoreRecord:
        """What stands in the table: a slide out of reach today keeps what is known of it."""
        if record.outcome in ("failed", "failed_before", "deferred", "skipped"):
            with suppress(OutputError):
                return read_score(self._jobs[record.slide_id].folder / SCORE_NAME)
        return record.score


def known_scores(out: Path) -> dict[str, ScoreRecord]:
    """Scores of all slides in the folder; a damaged one is left out until it is made again."""
    known = {}
    for path in sorted(out.glob(f"slides/*/{SCORE_NAME}")):
        with suppress(OutputError):
            known[path.parent.name] = read_score(path)
    return known


def _entry(record: SlideRecord) -> dict[str, Any]:
    return slide_entry(
        record.score,
        name=record.name,
        outcome=record.outcome,
        seconds=round(record.seconds, 3),
    )


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "ki67-pipeline": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
    }
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
