"""The board as HTML: everything that came from a file is escaped by the template engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from pipeline.run.watching.board import ProgressBoard, Totals

_HERE = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
)

STATE_WORDS = {
    "waiting": "waiting",
    "preparing": "preparing",
    "regions": "predicting",
    "finalising": "finalising",
    "ok": "done",
    "flagged": "done, flagged",
    "failed": "failed",
    "failed_before": "failed before",
    "deferred": "deferred",
    "quarantined": "quarantined",
    "already_done": "already done",
}
STATE_SIGNS = {
    "waiting": "·",
    "preparing": "▸",
    "regions": "▸",
    "finalising": "▸",
    "ok": "✓",
    "flagged": "!",
    "failed": "✕",
    "failed_before": "✕",
    "deferred": "‖",
    "quarantined": "✕",
    "already_done": "✓",
}
"""A sign beside each colour: no state is told by colour alone."""


def stylesheet() -> str:
    """Style of the page."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


def summary(board: ProgressBoard) -> str:
    """The head of the page: what is done, how fast, how long still."""
    totals = board.totals()
    return _TEMPLATES.get_template("summary.html").render(
        t=totals,
        number=number,
        mpx=megapixels,
        duration=duration,
        percent=done_pct(totals),
        working=sum(totals.slides[state] for state in ("preparing", "regions", "finalising")),
        done=sum(totals.slides[state] for state in ("ok", "flagged", "already_done")),
        cluster=board.cluster_link,
    )


def table(rows: Sequence[dict[str, Any]], *, named: bool) -> str:
    """One page of slides."""
    return _TEMPLATES.get_template("table.html").render(
        rows=rows,
        named=named,
        words=STATE_WORDS,
        signs=STATE_SIGNS,
        number=number,
        duration=duration,
        filled=filled_pct,
    )


def filled_pct(row: dict[str, Any]) -> float:
    """How far the bar of a slide goes."""
    if row["state"] in ("ok", "flagged", "already_done"):
        return 100.0
    return 100.0 * row["regions_done"] / row["regions_total"] if row["regions_total"] else 0.0


def done_pct(totals: Totals) -> float:
    """Share of the batch: slides that have ended, and parts of those under way."""
    if not totals.slides_total:
        return 0.0
    return 100.0 * totals.slides_ended / totals.slides_total


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with thousands apart; a dash for what is not known."""
    return "–" if value is None else f"{value:,.{digits}f}"


def megapixels(pixels: float | None) -> str:
    """Write pixels in millions, with a digit more where they are few."""
    if pixels is None:
        return number(None)
    return number(pixels / 1e6, 3 if pixels < 1e5 else 2)


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"
