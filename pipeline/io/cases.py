"""cases.csv: the slides of a case summed up, one row a case, from the slides' own scores."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.scoring import labelling_index_pct, wilson95
from pipeline.io.files import write_text_atomic
from pipeline.io.results import text_cell
from pipeline.io.score import ScoreRecord

CASES_NAME = "cases.csv"

CASE_COLUMNS = {
    "case": "the group that a manifest put its slides in",
    "slides": "slides of the case, whatever became of them",
    "slides_scored": "of them with an index",
    "index_pct": "pooled: positive of all cells of these slides in percent; empty for 0 of 0",
    "wilson_lo_pct": "lower end of the Wilson 95 % interval of the pooled index",
    "wilson_hi_pct": "upper end of it; it knows nothing of differences between slides",
    "positive": "positive cells, summed",
    "negative": "negative cells, summed",
    "total": "all cells, summed",
    "analysed_mm2": "area the cells were counted in, summed",
    "mean_index_pct": "unweighted mean of the slides' indices",
    "min_index_pct": "lowest index of a slide",
    "max_index_pct": "highest index of a slide",
    "flags": "of the slides, and of the case: what to look at, separated by semicolons",
    "slide_ids": "the slides, separated by semicolons",
}
"""Columns of cases.csv and what they hold; new ones are only ever added at the end."""

INCOMPLETE_FLAG = "slides_without_score"
MIXED_MODELS_FLAG = "mixed_models"
MIXED_POPULATIONS_FLAG = "mixed_populations"


def write_cases(out: Path, records: Iterable[ScoreRecord]) -> Path | None:
    """Write ``cases.csv`` in one step; without a slide that has a group there is none.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    rows = case_rows(records)
    path = out / CASES_NAME
    if not rows:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO()
    writer = csv.DictWriter(text, list(CASE_COLUMNS), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "case": text_cell(row["case"]), "flags": text_cell(row["flags"])})
    write_text_atomic(path, text.getvalue())
    return path


def case_rows(records: Iterable[ScoreRecord]) -> list[dict[str, Any]]:
    """One row a case in the order of their names: the keys of ``CASE_COLUMNS``."""
    cases: dict[str, list[ScoreRecord]] = {}
    for record in records:
        if record.slide.group:
            cases.setdefault(record.slide.group, []).append(record)
    return [_row(case, cases[case]) for case in sorted(cases)]


def _row(case: str, records: Sequence[ScoreRecord]) -> dict[str, Any]:
    scored = [record for record in records if record.ki67.index_pct is not None]
    indices = [record.ki67.index_pct for record in scored if record.ki67.index_pct is not None]
    positive = sum(record.counts.positive or 0 for record in scored)
    negative = sum(record.counts.negative or 0 for record in scored)
    total = positive + negative
    low, high = wilson95(positive, total) or (None, None)
    mean = sum(indices) / len(indices) if indices else None
    area_mm2 = sum(record.area_mm2.analysed or 0.0 for record in records)
    index = labelling_index_pct(positive, total)
    values = (
        (case, len(records), len(scored)),
        (_rounded(value) for value in (index, low, high)),
        (positive, negative, total, round(area_mm2, 6)),
        (_rounded(value) for value in (mean, min(indices, default=None), _highest(indices))),
        (";".join(_flags(records, scored)), ";".join(sorted(r.slide.id for r in records))),
    )
    return dict(zip(CASE_COLUMNS, (value for part in values for value in part), strict=True))


def _flags(records: Sequence[ScoreRecord], scored: Sequence[ScoreRecord]) -> list[str]:
    """The slides' flags, and what makes their sum doubtful."""
    models = {(r.provenance.weights_sha256, r.provenance.threshold) for r in scored}
    of_case = (
        (INCOMPLETE_FLAG, len(scored) < len(records)),
        (MIXED_MODELS_FLAG, len(models) > 1),
        (MIXED_POPULATIONS_FLAG, len({record.population for record in scored}) > 1),
    )
    own = [name for name, holds in of_case if holds]
    return own + sorted({flag for record in records for flag in record.flags})


def _highest(indices: Sequence[float]) -> float | None:
    return max(indices, default=None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
