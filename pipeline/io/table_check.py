"""slides.csv against the scores it was made from."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.io.results import slides_csv_text
from pipeline.io.score import ScoreRecord

_NAMED_MOST = 5
_WITHOUT_SCORE = frozenset({"deferred", "skipped"})


def differing_rows(path: Path, records: Iterable[ScoreRecord], columns: Sequence[str]) -> list[str]:
    """Name the slides whose row is not what their score.json says; empty where all agree.

    Slides that were not touched have a row and no score.
    """
    wanted = _rows(slides_csv_text(records))
    if not path.exists():
        return [f"{path.name}: missing"] if wanted else []
    try:
        there = _rows(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, csv.Error) as error:
        return [f"{path.name}: cannot be read ({type(error).__name__})"]
    known = {name: [row.get(column) for column in columns] for name, row in wanted.items()}
    shown = {name: [row.get(column) for column in columns] for name, row in there.items()}
    wrong = [name for name, row in known.items() if name in shown and shown[name] != row]
    gone = [name for name in known if name not in shown]
    extra = [
        name
        for name, row in there.items()
        if name not in known and row.get("status") not in _WITHOUT_SCORE
    ]
    return [
        f"{path.name}: {_some(names)}: {what}"
        for names, what in (
            (wrong, "not what score.json says"),
            (gone, "not in the table"),
            (extra, "in the table without a score.json"),
        )
        if names
    ]


def _rows(text: str) -> dict[str, dict[str, str | None]]:
    lines = csv.DictReader(io.StringIO(text, newline=""))
    return {line.get("slide_id") or "": line for line in lines}


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_MOST
    return ", ".join(names[:_NAMED_MOST]) + (f" and {more} more" if more > 0 else "")
