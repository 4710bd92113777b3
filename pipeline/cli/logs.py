"""Structured logs of a run: one JSON object a line, on stderr, in a file, or both."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

from pipeline.cli.scrubbing import OpenScrubber, Scrubber, short_id
from pipeline.config import WatchingSettings
from pipeline.errors import OutputError
from pipeline.run.events import Event, RunSummary, SlideRecord

_LEVELS = {"quarantined": logging.WARNING, "deferred": logging.INFO, "notice": logging.WARNING}
_TOLD = ("run_started", "workers", "slide_started", "slide_done", *_LEVELS)


class JsonLines(logging.Formatter):
    """One object a line: time (UTC), level, event, then what the event tells."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; every text in it is scrubbed."""
        told = getattr(record, "told", None)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": "log",
        }
        if told is None:
            line |= {"logger": record.name, "message": record.getMessage()}
        else:
            line |= told
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(
            {
                key: self._scrubber.text(value) if isinstance(value, str) else value
                for key, value in line.items()
            }
        )


class RunLog:
    """Writes the events of one run."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber, self._run_id = scrubber, ""
        self._logger = logging.getLogger("ki67.run")

    def tell(self, event: Event) -> None:
        """Write a line for a step that is worth one."""
        if event.kind == "run_started":
            self._run_id = event.run_id
            self._scrubber.learn(event.slides)
        if event.kind not in _TOLD:
            return
        told: dict[str, Any] = {}
        if event.slide_id:
            told |= self._slide(event.slide_id)
        if event.kind == "slide_started":
            told["regions"] = {"done": event.done, "total": event.total}
        elif event.kind == "workers":
            told["workers"] = event.done
        elif event.kind in ("run_started", "slide_done"):
            told["slides"] = {"done": event.done, "total": event.total}
        if event.record is not None:
            told |= _ended(event.record)
        elif event.message:
            told["page" if event.kind == "run_started" else "reason"] = event.message
        failed = event.record is not None and event.record.outcome == "failed"
        level = logging.ERROR if failed else _LEVELS.get(event.kind, logging.INFO)
        self._write(level, event.kind, told)

    def end(self, summary: RunSummary) -> None:
        """Write the last line of a run."""
        outcomes = [record.outcome for record in summary.records]
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        told = {"outcomes": counts, "exit_code": summary.exit_code}
        self._write(logging.INFO, "run_finished", told)

    def failed(self, error: Exception, exit_code: int) -> None:
        """Write why a run ended before its end."""
        told = {"reason": str(error), "error": type(error).__name__, "exit_code": exit_code}
        self._write(logging.ERROR, "run_stopped", told)

    def _slide(self, slide_id: str) -> dict[str, str]:
        is_open = isinstance(self._scrubber, OpenScrubber)
        return {"slide_id": slide_id if is_open else short_id(slide_id)}

    def _write(self, level: int, event: str, told: Mapping[str, Any]) -> None:
        line = {"event": event, "run_id": self._run_id, **told}
        self._logger.log(level, event, extra={"told": line})


class _JsonFile(WatchedFileHandler):
    """Opened again when it was moved away; a full disk costs lines, never the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line."""


class _JsonStream(logging.StreamHandler[TextIO]):
    """Lines on stderr; a closed pipe costs lines, never the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line."""


@contextmanager
def run_log(settings: WatchingSettings, places: list[str]) -> Iterator[RunLog]:
    """Write the log while the body runs, then leave Python's logging as it was.

    Parameters
    ----------
    places
        Paths of the command line, which are not to be named.

    Raises
    ------
    OutputError
        The log file cannot be written.
    """
    scrubber = (OpenScrubber if settings.log_paths else Scrubber)(places)
    ours: list[logging.Handler] = []
    if settings.log_file is not None:
        ours.append(_opened(settings.log_file))
    if settings.log_json:
        ours.append(_JsonStream(sys.stderr))
    for sink in ours:
        sink.setFormatter(JsonLines(scrubber))
    logger, root = logging.getLogger("ki67.run"), logging.getLogger()
    plain = [sink for sink in root.handlers if settings.log_json and _is_stderr(sink)]
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # without any handler Python itself would print warnings
    told: list[logging.Handler] = ours or [logging.NullHandler()]
    try:
        _exchange(root, remove=plain, add=ours)
        _exchange(logger, remove=[], add=told)
        yield RunLog(scrubber)
    finally:
        _exchange(logger, remove=told, add=[])
        _exchange(root, remove=ours, add=plain)
        logger.level, logger.propagate = before
        for sink in ours:
            sink.close()


def _exchange(
    logger: logging.Logger, *, remove: list[logging.Handler], add: list[logging.Handler]
) -> None:
    for sink in remove:
        logger.removeHandler(sink)
    for sink in add:
        logger.addHandler(sink)


def _is_stderr(sink: logging.Handler) -> bool:
    return type(sink) is logging.StreamHandler


def _opened(file: str) -> logging.Handler:
    path = Path(file).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _JsonFile(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"watching.log_file={file}: {error.strerror}; choose another file"
        ) from error


def _ended(record: SlideRecord) -> dict[str, Any]:
    score = record.score
    return {
        "outcome": record.outcome,
        "status": score.status,
        "seconds": round(record.seconds, 3),
        "counts": score.counts.model_dump(),
        "index_pct": score.ki67.index_pct,
        "flags": list(score.flags),
        "reason": score.reason,
    }
