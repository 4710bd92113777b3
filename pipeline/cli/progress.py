"""Progress of a run: two bars on a terminal, plain lines elsewhere, or JSON for machines."""

import json
import sys
from pathlib import PurePosixPath
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from pipeline.io.score import ScoreRecord
from pipeline.report.text import plural
from pipeline.run.events import Event, SlideRecord

_NAME_WIDTH = 32
_NOTICES = frozenset({"notice", "deferred", "quarantined"})


class ProgressView(Protocol):
    """Shows events of a run while it is entered."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal in order."""

    def tell(self, event: Event) -> None:
        """Show one event."""


def progress_view(*, as_json: bool = False, quiet: bool = False) -> ProgressView:
    """Return the view that fits: JSON if asked, bars if somebody watches, lines otherwise.

    A quiet view leaves stderr to the log.
    """
    if as_json:
        return JsonView(quiet=quiet)
    if quiet:
        return QuietView()
    return BarView() if sys.stderr.isatty() else LineView()


def slide_line(record: SlideRecord) -> str:
    """One line of a finished slide: name, status, index with its interval, counts, seconds."""
    score = record.score
    if record.outcome in ("deferred", "skipped"):
        return f"{record.name}: {record.outcome}: {score.reason}"
    if record.failed:
        # the reason names the file, and so does the line
        reason = (score.reason or "").removeprefix(f"{PurePosixPath(record.name).name}: ")
        return f"{record.name}: {_status(record)}: {reason}"
    parts = [f"{record.name}: {_status(record)}", index_text(score)]
    if score.counts.total is not None:
        parts.append(f"{score.counts.positive:,} positive + {score.counts.negative:,} negative")
    parts.append(f"{record.seconds:.1f} s")
    return ", ".join(parts)


def index_text(score: ScoreRecord) -> str:
    """The labelling index and its 95 % Wilson interval."""
    ki67 = score.ki67
    if ki67.index_pct is None or ki67.wilson95 is None:
        return "Ki-67 index not defined (no cells)"
    low, high = ki67.wilson95
    return f"Ki-67 {ki67.index_pct:.1f} % (95 % CI {low:.1f}-{high:.1f})"


def _status(record: SlideRecord) -> str:
    if record.outcome == "already_done":
        return f"{record.score.status} (already done)"
    if record.outcome == "failed_before":
        return "failed before (--retry-failed tries again)"
    return record.score.status


class LineView:
    """One plain line a slide, regions only in tenths: for logs and pipes."""

    def __init__(self) -> None:
        self._tenth = -1

    def __enter__(self) -> Self:
        """Nothing to start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to end."""

    def tell(self, event: Event) -> None:
        """Print what is worth a line."""
        if event.kind == "run_started":
            _say(_opening(event))
        elif event.kind == "slide_started":
            self._tenth = -1
            if event.message:
                _say(f"{event.slide_id}: {event.message}")
        elif event.kind == "region_done" and event.total:
            tenth = 10 * event.done // event.total
            if tenth != self._tenth and event.total > 10 and event.done < event.total:
                self._tenth = tenth
                _say(f"{event.slide_id}: {event.done} of {event.total} regions")
        elif event.kind == "slide_done" and event.record is not None:
            _say(f"[{event.done}/{event.total}] {slide_line(event.record)}")
        elif event.kind in _NOTICES:
            _say(_notice(event))


class QuietView(LineView):
    """Nothing: the log tells."""

    def tell(self, event: Event) -> None:
        """Say nothing."""


class JsonView(LineView):
    """One JSON object a slide on stdout: outcome, seconds and its score."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__()
        self._quiet = quiet

    def tell(self, event: Event) -> None:
        """Print finished slides; notices go to stderr."""
        if event.kind in _NOTICES and not self._quiet:
            _say(_notice(event))
        elif event.kind == "slide_done" and event.record is not None:
            record = event.record
            line = {
                "slide_id": record.slide_id,
                "outcome": record.outcome,
                "seconds": round(record.seconds, 3),
                "score": record.score.as_json(),
            }
            click.echo(json.dumps(line))


class BarView:
    """A bar of slides and a bar of the slide under way; finished slides scroll above them."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._slides = self._progress.add_task("slides", total=None)
        self._regions = self._progress.add_task("regions", total=None, visible=False)
        self._shown = ""

    def __enter__(self) -> Self:
        """Draw the bars."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        self._progress.stop()

    def tell(self, event: Event) -> None:
        """Move the bars."""
        if event.kind == "run_started":
            self._progress.update(self._slides, total=event.total)
            self._print(_opening(event))
        elif event.kind in ("slide_started", "region_done"):
            # the first slide that has regions left keeps the bar until it is done
            if not self._shown or self._shown == event.slide_id:
                self._show(event)
            if event.message:
                self._print(f"{event.slide_id}: {event.message}")
        elif event.kind == "slide_done" and event.record is not None:
            self._progress.update(self._slides, completed=event.done, total=event.total)
            if self._shown == event.slide_id:
                self._shown = ""
                self._progress.update(self._regions, visible=False)
            self._print(slide_line(event.record))
        elif event.kind in _NOTICES:
            self._print(_notice(event))

    def _show(self, event: Event) -> None:
        if self._shown != event.slide_id:
            self._progress.reset(self._regions, total=event.total, visible=True)
        self._shown = event.slide_id
        self._progress.update(
            self._regions,
            description=event.slide_id[:_NAME_WIDTH],
            completed=event.done,
            total=event.total,
        )

    def _print(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)


def _opening(event: Event) -> str:
    slides = plural(event.total, "slide")
    return f"{slides}; progress at {event.message}" if event.message else slides


def _notice(event: Event) -> str:
    if event.kind == "notice":
        return event.message
    return f"{event.slide_id}: {event.kind}: {event.message}"


def _say(text: str) -> None:
    click.echo(text, err=True)
