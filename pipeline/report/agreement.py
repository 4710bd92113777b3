"""A comparison of the pipeline with manual scores: JSON, Markdown, plots and one offline page."""

import base64
import csv
import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from pipeline import __version__
from pipeline.core.agreement import (
    CUTOFFS_PCT,
    Comparison,
    Panel,
    compare,
    mean_reader,
    pairs,
    panel,
)
from pipeline.core.category import Scheme
from pipeline.errors import AnnotationError
from pipeline.io.files import (
    make_folder,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from pipeline.io.manual_scores import LeftOut
from pipeline.io.results import text_cell
from pipeline.io.score_join import JoinedScores
from pipeline.report.agreement_plots import draw_coefficients, draw_comparison
from pipeline.report.agreement_tables import Table, markdown, sentences, tables
from pipeline.report.text import plural

MACHINE = "pipeline"
MEAN = "mean of readers"
STEM = "agreement"
DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Everything a comparison says.

    Attributes
    ----------
    sources
        Words -> what was compared: files and their sha256, column, models.
    warnings
        What a reader of the figures must know first.
    with_machine
        The pipeline against each reader, and against their mean when there are several.
    between_readers
        Each pair of readers.
    panels
        All readers together, without and with the pipeline, when there are several.
    """

    joined: JoinedScores
    sources: Mapping[str, str]
    warnings: tuple[str, ...]
    with_machine: tuple[Comparison, ...]
    between_readers: tuple[Comparison, ...]
    panels: tuple[Panel, ...]

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All comparisons, the pipeline's first."""
        return self.with_machine + self.between_readers


def make_study(
    joined: JoinedScores,
    sources: Mapping[str, str],
    *,
    cutoffs_pct: Sequence[float] = CUTOFFS_PCT,
    schemes: Sequence[Scheme] = (),
) -> Study:
    """Compute every figure of joined scores.

    Raises
    ------
    AnnotationError
        A reader has a name that the pipeline or the readers' mean goes by.
    """
    taken = {MACHINE, MEAN} & set(joined.readers)
    if taken:
        raise AnnotationError(f"a reader is called {taken.pop()!r}; choose another name for them")
    readers, machine = dict(joined.readers), (MACHINE, joined.found_pct)
    others = list(readers.items())
    if len(readers) > 1:
        others.append((MEAN, mean_reader(readers)))
    choice: dict[str, Any] = {"cutoffs_pct": cutoffs_pct, "schemes": schemes}
    both = [(one, other) for one, other in pairs(readers)]
    return Study(
        joined=joined,
        sources=sources,
        warnings=_warnings(joined),
        with_machine=tuple(compare(machine, other, **choice) for other in others),
        between_readers=tuple(
            compare((one, readers[one]), (other, readers[other]), **choice) for one, other in both
        ),
        panels=_panels(machine, readers),
    )


def write_agreement(out: Path, study: Study) -> list[Path]:
    """Write the files of a study into a folder and return their paths.

    ``agreement.json``, ``agreement.md``, ``agreement.html`` (everything in one file),
    ``agreement_slides.csv`` (the joined table) and the plots as PNG. The same study gives the
    same bytes.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    make_folder(out)
    pictures = _pictures(study)
    texts = {
        f"{STEM}.md": markdown(_sections(study)),
        f"{STEM}.html": _page(study, pictures),
        f"{STEM}_slides.csv": _slides_csv(study),
    }
    write_json_atomic(out / f"{STEM}.json", as_json(study))
    for name, text in texts.items():
        write_text_atomic(out / name, text)
    for name, (_, content) in pictures.items():
        write_bytes_atomic(out / name, content)
    return [out / name for name in (f"{STEM}.json", *texts, *pictures)]


def as_json(study: Study) -> dict[str, Any]:
    """Put a study into JSON's types; what is undefined is null and has its reason beside it."""
    return {
        "schema": 1,
        "tool": f"ki67-pipeline {__version__}",
        "research_use_only": True,
        "sources": dict(study.sources),
        "warnings": list(study.warnings),
        "slides_compared": len(study.joined.rows),
        "with_pipeline": [_comparison_json(one) for one in study.with_machine],
        "between_readers": [_comparison_json(one) for one in study.between_readers],
        "panels": [_plain(one) for one in study.panels],
        "left_out": [_plain(one) for one in study.joined.left_out],
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    kept = {
        name: getattr(comparison, name)
        for name in comparison.__dataclass_fields__
        if name not in {"slides", "first_pct", "second_pct"}
    }
    return {
        "first": comparison.first,
        "second": comparison.second,
        "n": len(comparison.slides),
    } | {name: _plain(value) for name, value in kept.items()}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _panels(
    machine: tuple[str, NDArray[np.float64]], readers: Mapping[str, NDArray[np.float64]]
) -> tuple[Panel, ...]:
    """Two raters are a pair and stand in its comparison already."""
    groups = [readers, dict([machine]) | dict(readers)]
    return tuple(panel(raters) for raters in groups if len(raters) > 2)


def _warnings(joined: JoinedScores) -> tuple[str, ...]:
    models = {row.cells.get("weights_sha256", "") for row in joined.rows} - {""}
    said = []
    if len(models) > 1:
        said.append(
            f"The pipeline's indices come from {len(models)} models: the figures describe none of "
            "them alone."
        )
    # a slide that no reader's value is left for is in no comparison
    compared = int(np.isfinite(list(joined.readers.values())).any(axis=0).sum())
    if compared < 20:
        said.append(
            f"Only {plural(compared, 'slide')}: read the intervals, not the figures. 30 to 50 "
            "slides that cover the range of indices are a fair start."
        )
    return tuple(said)


def _sections(study: Study) -> list[str | Table]:
    """Return title, words and tables in reading order, for Markdown and for the page."""
    left: list[LeftOut] = list(study.joined.left_out)
    return [
        *sentences(study.with_machine),
        *(f"**{text}**" for text in study.warnings),
        *tables(study.with_machine, study.between_readers, study.panels, left, study.sources),
    ]


def _pictures(study: Study) -> dict[str, tuple[str, bytes]]:
    """File name -> caption and PNG."""
    drawn = {}
    for number, one in enumerate(study.comparisons, start=1):
        if len(one.slides) == 0:
            continue
        words = re.sub(r"[^A-Za-z0-9]+", "-", f"{one.first} {one.second}").strip("-").lower()
        caption = f"{one.first} against {one.second}, {len(one.slides)} slides"
        drawn[f"{STEM}_{number}_{words[:60]}.png"] = caption, draw_comparison(one)
    if len(study.comparisons) > 1:
        caption = "Agreement of one rater with another: ICC(2,1), 95 % interval"
        drawn[f"{STEM}_icc.png"] = caption, draw_coefficients(study.comparisons)
    return drawn


def _slides_csv(study: Study) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    readers = study.joined.readers
    writer.writerow(
        ["slide_id", "name", "status", f"{MACHINE}_pct", *(text_cell(f"{r}_pct") for r in readers)]
    )
    for place, row in enumerate(study.joined.rows):
        values = [float(scores[place]) for scores in readers.values()]
        shown = ["" if math.isnan(value) else round(value, DIGITS) for value in values]
        found = round(float(study.joined.found_pct[place]), DIGITS)
        writer.writerow([row.slide_id, text_cell(row.name), row.status, found, *shown])
    return text.getvalue()


def _page(study: Study, pictures: Mapping[str, tuple[str, bytes]]) -> str:
    folder = files("pipeline.report").joinpath("templates")
    style, page = (
        folder.joinpath(name).read_text(encoding="utf-8")
        for name in ("agreement.css", "agreement.html.j2")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    inner = [
        (caption, base64.b64encode(content).decode()) for caption, content in pictures.values()
    ]
    found = study.joined.found_pct
    return environment.from_string(page).render(
        words=sentences(study.with_machine),
        warnings=study.warnings,
        tables=[part for part in _sections(study) if isinstance(part, Table)],
        pictures=inner,
        slides=len(found),
        middle=float(np.median(found)) if len(found) else None,
        version=__version__,
        style=style,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
