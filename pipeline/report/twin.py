"""The report's machine-readable twin: the same numbers as JSON and CSV, and what they mean."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.io.files import write_json_atomic, write_text_atomic
from pipeline.io.results import SLIDE_COLUMNS, write_slides_csv
from pipeline.io.score import ScoreRecord
from pipeline.report.batch import Banner
from pipeline.report.words import flag_words, status_wording

HOTSPOT_COLUMNS = {
    "slide_id": "as in slides.csv",
    "rank": "1 is the hottest",
    "x_l0": "centre, level-0 pixels",
    "y_l0": "centre, level-0 pixels",
    "radius_um": "of the circle, micrometres",
    "cells": "in the circle",
    "positive": "positive cells in it",
    "index_pct": "positive of its cells in percent",
    "wilson_lo_pct": "lower end of the Wilson 95 % interval",
    "wilson_hi_pct": "upper end of it",
    "expected_max_if_uniform_pct": "highest index to expect if positive cells lay by chance",
    "p_value": "share of chance arrangements with a place at least as hot",
}
PIECE_COLUMNS = {
    "slide_id": "as in slides.csv",
    "piece": "number of the connected piece of tissue",
    "area_mm2": "square millimetres",
    "positive": "positive cells",
    "negative": "negative cells",
    "index_pct": "empty for 0 of 0",
}
FAILURE_COLUMNS = {
    "slide_id": "as in slides.csv",
    "name": "file name of the slide",
    "status": "of every slide that is not ok",
    "reason": "why",
    "flags": "separated by semicolons",
    "remedy": "what to do",
}

_TEXT = frozenset({"name", "reason", "flags", "remedy"})
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_twin(folder: Path, records: Sequence[ScoreRecord], banner: Banner) -> None:
    """Write the twin's files; the same results give the same bytes.

    ``slides.json`` holds every ``score.json`` as it is; the tables hold parts of it, one row a
    slide, a hotspot, a piece, a slide that is not ok; ``batch.json`` what stands on top of the
    page; ``schema.json`` what the keys and columns mean.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_json_atomic(folder / "slides.json", [record.as_json() for record in records])
    write_json_atomic(folder / "batch.json", batch_json(banner))
    write_json_atomic(folder / "schema.json", schema())
    write_slides_csv(folder / "slides.csv", records)
    _write_table(folder / "hotspots.csv", HOTSPOT_COLUMNS, _hotspots(records))
    _write_table(folder / "pieces.csv", PIECE_COLUMNS, _pieces(records))
    _write_table(folder / "failures.csv", FAILURE_COLUMNS, _failures(records))


def batch_json(banner: Banner) -> dict[str, Any]:
    """What stands on top of the page."""
    changes = banner.changes
    return {
        "schema": 1,
        "slides": banner.slides,
        "pending": banner.pending,
        "by_status": {status: number for status, _, _, number in banner.counts},
        "by_flag": dict(banner.flags),
        "models": list(banner.models),
        "settings_sha256": list(banner.settings),
        "caveats": list(banner.caveats),
        "versions": list(banner.versions),
        "last_slide_ended": banner.latest or None,
        "research_use_only": True,
        "since_last_run": None
        if changes is None
        else {
            "since": changes.since,
            "new": list(changes.new),
            "changed": [{"slide_id": slide, "what": words} for slide, words in changes.changed],
            "same": changes.same,
        },
    }


@cache
def schema() -> dict[str, Any]:
    """JSON schema of the records and the meaning of each table's columns."""
    return {
        "schema": 1,
        "slides.json": {"type": "array", "items": ScoreRecord.model_json_schema(by_alias=True)},
        "slides.csv": SLIDE_COLUMNS,
        "hotspots.csv": HOTSPOT_COLUMNS,
        "pieces.csv": PIECE_COLUMNS,
        "failures.csv": FAILURE_COLUMNS,
    }


def _hotspots(records: Iterable[ScoreRecord]) -> Iterable[tuple[Any, ...]]:
    for record in records:
        for spot in record.hotspots:
            low, high = spot.wilson95 or (None, None)
            yield (
                *(record.slide.id, spot.rank, spot.x_l0, spot.y_l0, spot.radius_um),
                *(spot.cells, spot.positive, spot.index_pct, low, high),
                *(spot.expected_max_if_uniform_pct, spot.p_value),
            )


def _pieces(records: Iterable[ScoreRecord]) -> Iterable[tuple[Any, ...]]:
    for record in records:
        for piece in record.pieces:
            counts = (piece.positive, piece.negative, piece.index_pct)
            yield (record.slide.id, piece.id, piece.area_mm2, *counts)


def _failures(records: Iterable[ScoreRecord]) -> Iterable[tuple[Any, ...]]:
    for record in records:
        if record.status != "ok":
            remedies = [status_wording(record.status).remedy, *map(flag_words, record.flags)]
            yield (
                *(record.slide.id, record.slide.name, record.status, record.reason),
                *(";".join(record.flags), " ".join(filter(None, remedies))),
            )


def _write_table(path: Path, columns: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        pairs = zip(columns, row, strict=True)
        table.writerow([_plain(value) if name in _TEXT else value for name, value in pairs])
    write_text_atomic(path, text.getvalue())


def _plain(value: Any) -> Any:
    """Free text that a spreadsheet would run as a formula gets a leading apostrophe."""
    if value is None:
        return value
    words = " ".join(str(value).splitlines())
    return f"'{words}" if words.startswith(_FORMULA_STARTS) else words
