"""The report of an output folder: one HTML file that needs no network, and its machine's twin."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline import __version__
from pipeline.io.files import make_folder, write_text_atomic
from pipeline.io.pictures import INDEX_SCALE_PCT
from pipeline.io.results import DONE_NAME, SCORE_NAME
from pipeline.io.score import ScoreRecord
from pipeline.report import text
from pipeline.report.batch import Banner, load_records, make_banner, worst_first
from pipeline.report.card import Budget, embedded_card, linked_card, remark_on
from pipeline.report.changes import changes_since_last_run
from pipeline.report.charts import Charts, make_charts
from pipeline.report.layers import INDEX_COLOURS
from pipeline.report.pictures import Picture, embedded
from pipeline.report.twin import schema, write_twin
from pipeline.report.words import Wording, status_wording

__all__ = ["EMBEDDED_MOST", "REPORT_NAME", "TWIN_NAME", "load_records", "write_report"]

REPORT_NAME = "report.html"
TWIN_NAME = "report_data"
EMBEDDED_MOST = 100
"""Slides up to which the cards are part of the page; more have a page each in the twin folder."""

THUMB_PX = 80
THUMB_BYTES = 1600
_KEY_READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of slides."""

    record: ScoreRecord
    wording: Wording
    remark: str
    address: str
    thumb: Picture | None


def write_report(out: Path) -> Path:
    """Write ``report.html`` and ``report_data/`` from the result files; return the report's path.

    Raises
    ------
    OutputError
        The folder is missing, holds no results, or cannot be written.
    """
    found, pending = load_records(out)
    records = worst_first(found)
    banner = make_banner(records, pending, changes_since_last_run(out, records))
    write_twin(make_folder(out / TWIN_NAME), records, banner)
    alone = len(records) <= EMBEDDED_MOST
    if not alone:
        write_pages(out, records)
    write_text_atomic(out / REPORT_NAME, _page(out, records, banner, alone=alone))
    return out / REPORT_NAME


def prepare_report() -> None:
    """Make what is the same in every report ahead of time: a fifth of a second."""
    schema()
    for name in ("report.html.j2", "card.html.j2", "charts.html.j2"):
        _environment().get_template(name)


def write_pages(out: Path, records: Sequence[ScoreRecord]) -> int:
    """Write a page a slide below ``report_data/slides``; return how many had changed.

    Pictures are linked, so a page takes a few kilobytes; a page made from the same files by the
    same program is left as it is.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    folder = make_folder(out / TWIN_NAME / "slides")
    template, count = _environment().get_template("slide.html.j2"), 0
    for record in records:
        path, key = folder / f"{record.slide.id}.html", _made_from(out, record)
        if _key_of(path) == key:
            continue
        card = linked_card(out, record, "../../")
        page = template.render(card=card, key=key, home=f"../../{REPORT_NAME}", **_look())
        write_text_atomic(path, page)
        count += 1
    return count


def _page(out: Path, records: Sequence[ScoreRecord], banner: Banner, *, alone: bool) -> str:
    """Fill the template; every value is escaped, scripts and styles are allowed by their hash."""
    addresses = [_address(record, alone=alone) for record in records]
    charts: Charts = make_charts(records, addresses, banner.scale_pct)
    rows = [
        Row(
            record,
            status_wording(record.status),
            remark_on(record),
            address,
            _thumb(out, record) if alone else None,
        )
        for record, address in zip(records, addresses, strict=True)
    ]
    budget = Budget.for_slides(len(records))
    # one card at a time: a hundred with their pictures need not be in memory twice
    cards = (embedded_card(out, record, budget) for record in records) if alone else ()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(rows=rows, cards=cards, alone=alone, banner=banner, charts=charts, **_look())
    )


def _address(record: ScoreRecord, *, alone: bool) -> str:
    if alone:
        return f"#slide-{quote(record.slide.id)}"
    return f"{TWIN_NAME}/slides/{quote(record.slide.id)}.html"


def _thumb(out: Path, record: ScoreRecord) -> Picture | None:
    path = out / "slides" / record.slide.id / "thumbnail.jpg"
    return embedded(path, side_px=THUMB_PX, most_bytes=THUMB_BYTES)


def _made_from(out: Path, record: ScoreRecord) -> str:
    """Name the state of a slide's files and of the program that draws them."""
    folder = out / "slides" / record.slide.id
    total = hashlib.sha256(_templates_digest().encode())
    for name in (SCORE_NAME, DONE_NAME):  # the done mark holds the checksum of every other file
        path = folder / name
        total.update(path.read_bytes() if path.exists() else b"-")
    return total.hexdigest()


def _key_of(path: Path) -> str:
    """Read what a page was made from; empty where there is none."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_KEY_READ_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return head.partition('name="made-from" content="')[2].partition('"')[0]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("percent", "interval", "count", "square_mm", "per_mm2", "moment", "plural")
    environment.filters |= {name: getattr(text, name) for name in names}
    environment.globals |= {"nothing": text.NOTHING, "index_scale": f"{INDEX_SCALE_PCT:g}"}
    environment.globals["index_colours"] = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in INDEX_COLOURS]
    return environment


@cache
def _source(name: str) -> str:
    loader = _environment().loader
    if loader is None:
        return ""
    return loader.get_source(_environment(), name)[0]


@cache
def _templates_digest() -> str:
    names = ("slide.html.j2", "card.html.j2", "report.css", "report.js")
    return hashlib.sha256("".join([__version__, *map(_source, names)]).encode()).hexdigest()


def _look() -> dict[str, Any]:
    """Style and script with the hashes that allow them and nothing else."""
    style, script = _source("report.css"), _source("report.js")
    return {
        "style": style,
        "script": script,
        "style_hash": _csp_hash(style),
        "script_hash": _csp_hash(script),
    }


def _csp_hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
