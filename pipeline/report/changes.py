"""What changed since the last run, told by the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutputError
from pipeline.io.ledger import LEDGER_NAME, LedgerSlide
from pipeline.io.ledger_reading import read_ledger
from pipeline.io.score import ScoreRecord
from pipeline.report.text import percent
from pipeline.report.words import STATUS_WORDS

LEAST_POINTS = 0.05
"""Indices nearer than this are printed alike."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Slides beside what an earlier run said of them.

    Attributes
    ----------
    since
        Start of the run before the latest, UTC in ISO 8601.
    new
        Ids of slides that no earlier run had.
    changed
        (slide id, what changed) of the others.
    same
        How many slides say what they said.
    """

    since: str
    new: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]
    same: int


def changes_since_last_run(out: Path, records: Sequence[ScoreRecord]) -> Changes | None:
    """Compare scores with the ledger's rows before the latest run; None where there are none."""
    try:
        ledger = read_ledger(out / LEDGER_NAME)
    except OutputError:
        return None  # history is a comfort: the numbers do not depend on it
    runs = ledger.runs
    if len(runs) < 2:
        return None
    latest = runs[-1].run_id
    before = {row.slide_id: row for row in ledger.slides if row.run_id != latest}
    new = tuple(record.slide.id for record in records if record.slide.id not in before)
    known = [record for record in records if record.slide.id in before]
    changed = [
        (record.slide.id, words)
        for record in known
        if (words := _difference(before[record.slide.id], record))
    ]
    return Changes(runs[-2].started, new, tuple(changed), len(known) - len(changed))


def _difference(row: LedgerSlide, record: ScoreRecord) -> str:
    parts = []
    if row.status != record.status:
        earlier = next((w.label for s, w in STATUS_WORDS.items() if s == row.status), row.status)
        parts.append(f"{earlier} → {STATUS_WORDS[record.status].label}")
    now = record.ki67.index_pct
    if (row.index_pct is None) != (now is None) or (
        row.index_pct is not None and now is not None and abs(row.index_pct - now) >= LEAST_POINTS
    ):
        parts.append(f"index {percent(row.index_pct)} → {percent(now)}")
    made = record.provenance
    if row.weights_sha256 and made.weights_sha256 and row.weights_sha256 != made.weights_sha256:
        parts.append(f"model {row.model} → {made.weights}")
    return ", ".join(parts)
