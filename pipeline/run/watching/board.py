"""The board of a run: what became of each slide so far, fed by events, read by many threads."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.run.events import Event, SlideName, Work
from pipeline.run.watching.pace import Pace, Sample, batch_eta_s
from pipeline.run.watching.row import ACTIVE, ENDED, STATES, UNSUCCESSFUL, URGENCY, SlideRow

SCHEMA = 1
RECENT = 20
"""Slides that ended last, kept in sight beside those under way."""

FAILURES_LISTED = 100
View = Literal["now", "failed", "all"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all slides of a run at one moment."""

    run_id: str
    started: datetime
    seconds: float
    ended: bool
    slides: dict[str, int]
    """By state, every state always there."""
    regions_done: int
    regions_planned: int
    regions_here: int
    tiles: int
    unreadable: int
    pixels: int
    cells: int
    """Of slides that are done those that were kept, of others the peaks so far."""
    stage_seconds: dict[str, float]
    workers: int | None
    pixels_per_s: float | None
    cells_per_s: float | None
    eta_s: float | None
    quiet_s: float
    """Since the last region or slide was done."""

    @property
    def slides_total(self) -> int:
        """All slides of the run."""
        return sum(self.slides.values())

    @property
    def slides_ended(self) -> int:
        """Slides with nothing left to do in this run."""
        return sum(self.slides[state] for state in ENDED)

    @property
    def slides_failed(self) -> int:
        """Slides without a result."""
        return sum(self.slides[state] for state in UNSUCCESSFUL)


class ProgressBoard:
    """Follows the events of one run. Every method can be called from any thread.

    Memory is a few hundred bytes a slide; the history is thinned to a fixed length.

    Parameters
    ----------
    named
        Whether names of files are given out beside the ids.
    """

    def __init__(self, *, named: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.named = named
        self.cluster_link = ""
        self._clock, self._lock = clock, threading.Lock()
        self._began = self._stepped = clock()
        self._run_id = ""
        self._ended_s: float | None = None
        self._rows: dict[str, SlideRow] = {}
        self._recent: list[str] = []
        self._pace = Pace()
        self._stages: dict[str, float] = {}
        self._tiles = self._unreadable = 0
        self._workers: int | None = None

    def tell(self, event: Event) -> None:
        """Take one step of the run."""
        with self._lock:
            if event.work is not None:
                self._count(event.work)
            if event.kind == "run_started":
                self._begin(event)
            elif event.kind == "workers":
                self._workers = event.done
            elif event.slide_id:
                self._step(self._row(event.slide_id), event)

    def end(self) -> None:
        """Stop the clock: the run is over."""
        with self._lock:
            self._ended_s = self._ended_s or self._now()

    def totals(self) -> Totals:
        """Sums over all slides now."""
        with self._lock:
            rows, now = list(self._rows.values()), self._now()
            planned = [row for row in rows if row.regions_total]
            rates = self._pace.rates(now)
            eta = batch_eta_s(
                self._pace,
                now,
                left=sum(r.regions_total - r.regions_done for r in rows if r.state not in ENDED),
                waiting=sum(row.state in ("waiting", "preparing") for row in rows),
                planned=sum(row.regions_total for row in planned),
                slides_planned=len(planned),
            )
            states = Counter(row.state for row in rows)
            over = self._ended_s is not None
            return Totals(
                run_id=self._run_id,
                started=datetime.fromtimestamp(self._began, UTC),
                seconds=now,
                ended=over,
                slides={state: states[state] for state in STATES},
                regions_done=sum(row.regions_done for row in rows),
                regions_planned=sum(row.regions_total for row in rows),
                regions_here=self._pace.regions,
                tiles=self._tiles,
                unreadable=self._unreadable,
                pixels=self._pace.pixels,
                cells=sum(row.cells for row in rows),
                stage_seconds=dict(sorted(self._stages.items())),
                workers=self._workers,
                pixels_per_s=None if rates is None else rates[1],
                cells_per_s=None if rates is None else rates[2],
                eta_s=None if over else eta,
                quiet_s=max(0.0, now - (self._stepped - self._began)),
            )

    def rows(
        self, view: View = "all", *, containing: str = "", offset: int = 0, limit: int = 50
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of slides, and how many there are in all.

        Parameters
        ----------
        view
            ``now``: those under way, then those that ended last. ``failed``: all, what needs a
            person first. ``all``: in the order of the input.
        containing
            Part of the id, or of the name where names are given out.
        """
        with self._lock:
            now, found = self._now(), self._chosen(view)
            if word := containing.strip().casefold():
                found = [row for row in found if word in self._text(row)]
            page = found[offset : offset + limit]
            return [row.as_json(now, named=self.named) for row in page], len(found)

    def history(self) -> list[Sample]:
        """Pixels and cells of the run over its time."""
        with self._lock:
            return [*self._pace.history, Sample(self._now(), self._pace.pixels, self._pace.cells)]

    def as_json(self) -> dict[str, Any]:
        """Give the progress file: sums, slides under way, slides that ended last, failures."""
        totals = self.totals()
        failures, _ = self.rows("failed", limit=FAILURES_LISTED)
        return {
            "schema": SCHEMA,
            "run_id": totals.run_id,
            "started": totals.started.isoformat(timespec="seconds"),
            "seconds": round(totals.seconds, 1),
            "ended": totals.ended,
            "eta_s": None if totals.eta_s is None else round(totals.eta_s, 1),
            "workers": totals.workers,
            "slides": {"total": totals.slides_total, **totals.slides},
            "regions": {"done": totals.regions_done, "planned": totals.regions_planned},
            "cells": totals.cells,
            "cells_per_s": _rounded(totals.cells_per_s),
            "mpx": round(totals.pixels / 1e6, 3),
            "mpx_per_s": _rounded(None if (p := totals.pixels_per_s) is None else p / 1e6, 3),
            "stage_seconds": {name: round(s, 2) for name, s in totals.stage_seconds.items()},
            "failures": [row for row in failures if row["state"] in UNSUCCESSFUL],
            "now": self.rows("now", limit=200)[0],
        }

    def _begin(self, event: Event) -> None:
        """A run begins, or goes on with a new cluster: then nothing is under way any more."""
        self._run_id = event.run_id or self._run_id
        self.cluster_link = event.message
        for slide in event.slides:
            self._row(slide.slide_id, slide)
        for row in self._rows.values():
            if row.state in ACTIVE:
                row.state = "waiting"

    def _row(self, slide_id: str, slide: SlideName | None = None) -> SlideRow:
        if slide_id not in self._rows:
            name = "" if slide is None else slide.name
            self._rows[slide_id] = SlideRow(slide_id, name, len(self._rows))
        return self._rows[slide_id]

    def _step(self, row: SlideRow, event: Event) -> None:
        now = self._now()
        if event.kind == "slide_preparing":
            row.state = "preparing"
            row.begun_s = now if row.begun_s is None else row.begun_s
        elif event.kind in ("slide_started", "region_done"):
            row.state, row.regions_done, row.regions_total = "regions", event.done, event.total
            row.regions_s = now if row.regions_s is None else row.regions_s
            self._pace.begin(now)
            if event.kind == "region_done":
                self._region(row, event.work or Work(), now)
        elif event.kind == "slide_finalising":
            row.state = "finalising"
        elif event.kind in ("deferred", "quarantined"):
            row.state = "deferred" if event.kind == "deferred" else "quarantined"
            row.reason = event.message
        elif event.kind == "slide_done" and event.record is not None:
            quarantined, reason = row.state == "quarantined", row.reason
            row.name = row.name or event.record.name
            row.end(event.record, now)
            if quarantined and row.state == "failed":
                row.state, row.reason = "quarantined", row.reason or reason
            self._recent = [*self._recent, row.slide_id][-RECENT:]
            self._stepped = self._clock()

    def _region(self, row: SlideRow, work: Work, now: float) -> None:
        row.done_here += 1
        row.cells += work.cells
        row.pixels += work.pixels
        self._pace.add(now, pixels=work.pixels, cells=work.cells)
        self._stepped = self._clock()

    def _count(self, work: Work) -> None:
        self._tiles += work.tiles
        self._unreadable += work.unreadable
        for stage, seconds in work.seconds.items():
            self._stages[stage] = self._stages.get(stage, 0.0) + seconds

    def _chosen(self, view: View) -> list[SlideRow]:
        rows = list(self._rows.values())
        if view == "all":
            return rows
        if view == "failed":
            last = len(URGENCY)
            return sorted(rows, key=lambda row: (URGENCY.get(row.state, last), row.position))
        ended = [self._rows[slide_id] for slide_id in reversed(self._recent)]
        return [row for row in rows if row.state in ACTIVE] + ended

    def _text(self, row: SlideRow) -> str:
        return f"{row.slide_id} {row.name if self.named else ''}".casefold()

    def _now(self) -> float:
        return self._clock() - self._began if self._ended_s is None else self._ended_s


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
