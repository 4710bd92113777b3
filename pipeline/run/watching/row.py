"""One slide on the board of a run: its state, what was counted, how it ended."""

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.run.events import SlideRecord
from pipeline.run.watching.pace import slide_eta_s

SlideState = Literal[
    "waiting",
    "preparing",
    "regions",
    "finalising",
    "ok",
    "flagged",
    "failed",
    "failed_before",
    "deferred",
    "quarantined",
    "already_done",
]
STATES: tuple[SlideState, ...] = SlideState.__args__  # type: ignore[attr-defined]
ACTIVE = frozenset({"preparing", "regions", "finalising"})
UNSUCCESSFUL = frozenset({"failed", "failed_before", "quarantined"})
ENDED = frozenset(STATES) - ACTIVE - {"waiting"}

URGENCY: dict[SlideState, int] = {
    "failed": 0,
    "quarantined": 1,
    "failed_before": 2,
    "deferred": 3,
    "flagged": 4,
}
"""Failed first: the order of the page that shows what needs a person."""

LONGEST_REASON = 300


@dataclass(slots=True)
class SlideRow:
    """What the board knows of one slide; times in seconds since the run began."""

    slide_id: str
    name: str
    position: int
    state: SlideState = "waiting"
    regions_done: int = 0
    regions_total: int = 0
    done_here: int = 0
    """Regions of this run: those before it took no time of it."""
    cells: int = 0
    pixels: int = 0
    begun_s: float | None = None
    regions_s: float | None = None
    """When its regions began."""
    ended_s: float | None = None
    index_pct: float | None = None
    reason: str = ""

    def seconds(self, now_s: float) -> float | None:
        """Time it has taken so far, or took."""
        if self.begun_s is None:
            return None
        return (now_s if self.ended_s is None else self.ended_s) - self.begun_s

    def eta_s(self, now_s: float) -> float | None:
        """Seconds until its regions are done; None when not known."""
        if self.state != "regions" or self.regions_s is None:
            return None
        return slide_eta_s(
            done_here=self.done_here,
            left=self.regions_total - self.regions_done,
            taken_s=now_s - self.regions_s,
        )

    def per_second(self, amount: int, now_s: float) -> float | None:
        """Cells or pixels a second of its regions."""
        if self.regions_s is None or not self.done_here:
            return None
        until = now_s if self.ended_s is None else self.ended_s
        return amount / max(until - self.regions_s, 1e-3)

    def end(self, record: SlideRecord, now_s: float) -> None:
        """Take how it ended."""
        score = record.score
        self.state = end_state(record)
        self.ended_s = now_s
        self.index_pct = score.ki67.index_pct
        if score.counts.total is not None:
            self.cells = score.counts.total
        if self.state == "flagged":
            words = [score.status] if score.status != "ok_with_flags" else []
            self.reason = ", ".join([*words, *score.flags])[:LONGEST_REASON]
        else:
            self.reason = (score.reason or "")[:LONGEST_REASON]

    def as_json(self, now_s: float, *, named: bool) -> dict[str, Any]:
        """Give it as an object of the progress file."""
        rate, pixels = self.per_second(self.cells, now_s), self.per_second(self.pixels, now_s)
        seconds, eta = self.seconds(now_s), self.eta_s(now_s)
        return {
            "slide_id": self.slide_id,
            "name": self.name if named else None,
            "state": self.state,
            "regions_done": self.regions_done,
            "regions_total": self.regions_total,
            "cells": self.cells,
            "cells_per_s": _rounded(rate),
            "mpx_per_s": _rounded(None if pixels is None else pixels / 1e6, 3),
            "seconds": _rounded(seconds),
            "eta_s": _rounded(eta),
            "index_pct": _rounded(self.index_pct, 4),
            "reason": (self.reason if named else nameless(self)) or None,
        }


def end_state(record: SlideRecord) -> SlideState:
    """State of a slide that has ended."""
    outcome, status = str(record.outcome), record.score.status
    if outcome in ("failed_before", "quarantined", "deferred"):
        return outcome  # type: ignore[return-value]
    if status in ("deferred", "skipped"):
        return "deferred"
    if record.failed:
        return "failed"
    if outcome == "already_done":
        return "already_done"
    return "ok" if status == "ok" else "flagged"


def nameless(row: SlideRow) -> str:
    """The reason without the file's name and its folders, which can be a patient's."""
    text, path = row.reason, row.name.replace("\\", "/")
    for name in (path, path.rsplit("/", 1)[-1]):
        if name:
            text = text.removeprefix(f"{name}: ").replace(name, "the slide")
    return text


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
