"""What is known about a slide, in files: score.json, the done mark, the table of slides, runs."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import OutputError
from pipeline.io.done import (
    DONE_NAME,
    WORK_NAME,
    DoneMark,
    check_done,
    read_done,
    verify_done,
    withdraw_done,
    write_done,
)
from pipeline.io.files import short_name, write_json_atomic, write_text_atomic
from pipeline.io.score import (
    AreaMm2,
    Category,
    Counts,
    Density,
    Hotspot,
    Ki67,
    Piece,
    Provenance,
    ScoreRecord,
    SlideIdentity,
    Status,
)

__all__ = [
    "DONE_NAME",
    "SCORE_NAME",
    "SLIDE_COLUMNS",
    "WORK_NAME",
    "AreaMm2",
    "Category",
    "Counts",
    "Density",
    "DoneMark",
    "Hotspot",
    "Ki67",
    "Piece",
    "Provenance",
    "ScoreRecord",
    "SlideIdentity",
    "Status",
    "check_done",
    "has_result",
    "read_done",
    "read_score",
    "read_scores",
    "slide_row",
    "slides_csv_text",
    "verify_done",
    "withdraw_done",
    "write_done",
    "write_run_json",
    "write_score",
    "write_slides_csv",
]

SCORE_NAME = "score.json"

SLIDE_COLUMNS = {
    "slide_id": "safe name and short hash of the relative path; the folder below slides/",
    "name": "file name of the slide",
    "status": "ok, ok_with_flags, no_tissue, too_few_cells, failed, deferred, skipped",
    "reason": "why the status is not ok, with the remedy",
    "index_pct": "Ki-67 labelling index, positive of all cells in percent; empty for 0 of 0",
    "wilson_lo_pct": "lower end of the Wilson 95 % interval (counting error only)",
    "wilson_hi_pct": "upper end of it",
    "positive": "positive cells",
    "negative": "negative cells",
    "total": "all cells",
    "tissue_mm2": "area of tissue found",
    "analysed_mm2": "area the cells were counted in",
    "unreadable_mm2": "area of damaged tiles, not in the analysed area",
    "positive_per_mm2": "positive cells per analysed square millimetre",
    "total_per_mm2": "all cells per analysed square millimetre",
    "flags": "what to look at, separated by semicolons",
    "category": "only where a scheme is configured",
    "population": "model_targets or roi: which cells the index is about",
    "mpp_x": "micrometres per level-0 pixel",
    "mpp_y": "micrometres per level-0 pixel",
    "mpp_source": "where the micrometres per pixel come from",
    "reader": "library that read the slide",
    "vendor": "scanner vendor as the reader names it",
    "model": "model that found the cells",
    "weights_sha256": "of its weights",
    "threshold": "score a cell must reach",
    "config_sha256": "of the settings",
    "version": "of this program",
    "seconds": "from start to end of the slide",
    "fingerprint": "of the slide file's content",
    "bootstrap_lo_pct": "lower end of the 95 % interval by resampled blocks of tissue",
    "bootstrap_hi_pct": "upper end of it",
    "field_mean_pct": "unweighted mean of the indices of fields",
    "hotspot_index_pct": "index of the first hotspot; to be read beside the next column",
    "hotspot_expected_pct": "highest index that chance alone finds on this slide",
    "hotspot_p": "how often chance finds as much",
    "straddles_cutoff": "True where the interval reaches across a cut-off of the category",
    "calibrated_pct": "index corrected by a calibration against manual counts",
    "excluded_mm2": "tissue left out by quality control, not in the analysed area",
    "outside_roi_mm2": "tissue outside the region of interest; empty without one",
    "roi": "file of the region of interest",
    "roi_sha256": "of that file",
    "caveat": "what the index does not know, in the model's words",
    "group": "the case of the slide, as a manifest named it",
}
"""Columns of slides.csv and what they hold; new ones are only ever added at the end."""

_TEXT_COLUMNS = frozenset(
    {
        "name",
        "reason",
        "flags",
        "category",
        "vendor",
        "model",
        "mpp_source",
        "roi",
        "caveat",
        "group",
    }
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_score(path: Path, record: ScoreRecord) -> None:
    """Write ``score.json``.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_json_atomic(path, record.as_json())


def read_score(path: Path) -> ScoreRecord:
    """Read a ``score.json``.

    Raises
    ------
    OutputError
        It is missing, damaged or of another schema.
    """
    try:
        return ScoreRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = _first_line(error)
        raise OutputError(
            f"{short_name(path)}: no score of schema 1 ({reason}); run the same `ki67 run` again"
        ) from error


def read_scores(out: Path) -> list[ScoreRecord]:
    """Read the scores of all slides of an output folder, by slide id.

    Raises
    ------
    OutputError
        One of them is damaged.
    """
    return [read_score(path) for path in sorted(out.glob(f"slides/*/{SCORE_NAME}"))]


def has_result(folder: Path) -> bool:
    """Whether a slide is done and has not failed, with whatever settings."""
    try:
        done = read_done(folder) is not None
        return done and read_score(folder / SCORE_NAME).status != "failed"
    except OutputError:
        return False


def write_run_json(out: Path, run_id: str, record: Mapping[str, Any]) -> Path:
    """Write ``runs/<run_id>.json`` and return its path; a run may update its own record.

    Raises
    ------
    ValueError
        The run id is no safe file name.
    OutputError
        The folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run_id):
        raise ValueError(f"run id {run_id!r} is no safe file name")
    path = out / "runs" / f"{run_id}.json"
    write_json_atomic(path, dict(record))
    return path


def slide_row(record: ScoreRecord) -> dict[str, Any]:
    """One row of slides.csv: the keys of ``SLIDE_COLUMNS``, plain values, None where unknown."""
    slide, made, ki67 = record.slide, record.provenance, record.ki67
    low, high = ki67.wilson95 or (None, None)
    mpp_x, mpp_y = slide.mpp or (None, None)
    values = (
        (slide.id, slide.name, record.status, record.reason, ki67.index_pct, low, high),
        (record.counts.positive, record.counts.negative, record.counts.total),
        (record.area_mm2.tissue, record.area_mm2.analysed, record.area_mm2.unreadable),
        (record.density.positive_per_mm2, record.density.total_per_mm2),
        (";".join(record.flags), record.category.label if record.category else None),
        (record.population, mpp_x, mpp_y, slide.mpp_source, slide.reader, slide.vendor),
        (made.weights, made.weights_sha256, made.threshold, made.config_sha256, made.version),
        (record.seconds, slide.fingerprint),
        _figures(record),
    )
    flat = [value for group in values for value in group]
    return dict(zip(SLIDE_COLUMNS, flat, strict=True))


def _figures(record: ScoreRecord) -> tuple[Any, ...]:
    """The columns that were added since the first version, in their order."""
    ki67, area, roi = record.ki67, record.area_mm2, record.roi
    first = record.hotspots[0] if record.hotspots else None
    return (
        *(ki67.bootstrap95 or (None, None)),
        ki67.unweighted_field_mean_pct,
        *(
            (first.index_pct, first.expected_max_if_uniform_pct, first.p_value)
            if first
            else (None, None, None)
        ),
        None if record.category is None else record.category.straddles_cutoff,
        None if ki67.calibrated is None else ki67.calibrated.index_pct,
        area.excluded,
        area.outside_roi,
        *((roi.name, roi.sha256) if roi else (None, None)),
        record.caveat,
        record.slide.group,
    )


def write_slides_csv(path: Path, records: Iterable[ScoreRecord]) -> None:
    """Write one row per slide in the order given, columns ``SLIDE_COLUMNS``.

    Free text that a spreadsheet would run as a formula gets a leading apostrophe; numbers stay.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_text_atomic(path, slides_csv_text(records))


def slides_csv_text(records: Iterable[ScoreRecord]) -> str:
    """The whole of slides.csv as :func:`write_slides_csv` writes it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(SLIDE_COLUMNS), lineterminator="\n")
    writer.writeheader()
    for record in records:
        row = slide_row(record)
        writer.writerow({key: _cell(key, value) for key, value in row.items()})
    return text.getvalue()


def text_cell(value: Any) -> Any:
    """Free text for a table: one line that no spreadsheet runs as a formula; None stays None."""
    if value is None:
        return None
    # a surrogate stands for a byte of a file name that is no UTF-8
    words = " ".join(str(value).encode("utf-8", "replace").decode("utf-8").splitlines())
    return f"'{words}" if words.lstrip(" ").startswith(_FORMULA_STARTS) else words


def _cell(column: str, value: Any) -> Any:
    return text_cell(value) if column in _TEXT_COLUMNS else value


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return type(error).__name__
