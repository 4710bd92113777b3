"""The report of an output folder: one HTML file that needs no network, and its machine's twin."""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from pipeline import __version__
from pipeline.errors import OutputError
from pipeline.io.files import make_folder, write_json_atomic, write_text_atomic
from pipeline.io.results import SCORE_NAME, WORK_NAME, read_score, write_slides_csv
from pipeline.io.score import ScoreRecord, SlideIdentity
from pipeline.report.card import Card, PictureBudget, count, make_card, square_mm
from pipeline.report.words import STATUS_WORDS

REPORT_NAME = "report.html"
TWIN_NAME = "report_data"


@dataclass(frozen=True, slots=True)
class Banner:
    """What stands on top: how many slides ended how, and what made the numbers.

    Attributes
    ----------
    counts
        (words, tone, number) of each status that occurs.
    models
        Every model whose results stand in the table; more than one is said aloud.
    caveats
        Of the models.
    versions
        Of the program.
    pending
        Slides that are begun and not done.
    scale_pct
        Right end of the bars in the table.
    """

    counts: tuple[tuple[str, str, int], ...]
    models: tuple[str, ...]
    caveats: tuple[str, ...]
    versions: tuple[str, ...]
    pending: int
    scale_pct: float
    latest: str


def write_report(out: Path) -> Path:
    """Write ``report.html`` and ``report_data/`` from the result files; return the report's path.

    Raises
    ------
    OutputError
        The folder is missing, holds no results, or cannot be written.
    """
    records, pending = load_records(out)
    records = sorted(records, key=lambda r: (STATUS_WORDS[r.status].rank, r.slide.name, r.slide.id))
    twin = make_folder(out / TWIN_NAME)
    write_json_atomic(twin / "slides.json", [record.as_json() for record in records])
    write_slides_csv(twin / "slides.csv", records)
    budget = PictureBudget.for_slides(len(records))
    cards = [make_card(out, record, budget) for record in records]
    write_text_atomic(out / REPORT_NAME, render(cards, make_banner(records, pending)))
    return out / REPORT_NAME


def load_records(out: Path) -> tuple[list[ScoreRecord], int]:
    """Read every slide's score, and count slides that are begun and not done.

    A damaged score becomes a failed slide: it must not hide the others, nor be hidden.

    Raises
    ------
    OutputError
        There is no ``slides`` folder with a slide in it.
    """
    folders = sorted(path for path in (out / "slides").glob("*") if path.is_dir())
    if not folders:
        raise OutputError(
            f"{out.name or out}: no results here; name the folder of `ki67 run --out`"
        )
    records, pending = [], 0
    for folder in folders:
        if (folder / SCORE_NAME).exists():
            records.append(_record(folder))
        elif (folder / WORK_NAME).exists():
            pending += 1
    return records, pending


def make_banner(records: Sequence[ScoreRecord], pending: int) -> Banner:
    """Sum up the slides."""
    by_status = Counter(record.status for record in records)
    counts = tuple(
        (wording.label, wording.tone, by_status[status])
        for status, wording in reversed(STATUS_WORDS.items())
        if by_status[status]
    )
    ends = [record.ki67.wilson95[1] for record in records if record.ki67.wilson95]
    return Banner(
        counts=counts,
        models=_distinct([_model(record) for record in records]),
        caveats=_distinct([record.caveat or "" for record in records]),
        versions=_distinct([record.provenance.version or "" for record in records])
        or (__version__,),
        pending=pending,
        scale_pct=max(20.0, math.ceil(max(ends, default=0.0) / 10) * 10.0),
        latest=max((record.provenance.ended or "" for record in records), default=""),
    )


def render(cards: Sequence[Card], banner: Banner) -> str:
    """Fill the template; every value is escaped, scripts and styles are allowed by their hash."""
    folder = files("pipeline.report").joinpath("templates")
    style, script, page = (
        folder.joinpath(name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js", "report.html.j2")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": count, "square_mm": square_mm}
    return environment.from_string(page).render(
        cards=cards,
        banner=banner,
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        several_models=len(banner.models) > 1,
    )


def _record(folder: Path) -> ScoreRecord:
    try:
        return read_score(folder / SCORE_NAME)
    except OutputError as error:
        return ScoreRecord(
            slide=SlideIdentity(id=folder.name, name=folder.name),
            status="failed",
            reason=str(error),
        )


def _model(record: ScoreRecord) -> str:
    made = record.provenance
    if made.weights is None:
        return ""
    return f"{made.weights} ({(made.weights_sha256 or 'no checksum')[:12]})"


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
