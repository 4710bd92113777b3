"""Manual counts of positive and negative cells, with the pipeline's counts of the same fields."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.calibration_fit import CountedField
from pipeline.errors import AnnotationError
from pipeline.io.number_table import NumberTable, read_count, read_table
from pipeline.io.score_join import SlideRow, SlideRows, matching_rows

FIELD_NAMES = ("field", "slide_id", "slide", "name", "image", "id")
GROUP_NAMES = ("group", "case", "patient")
COUNT_NAMES = {
    "manual_positive": ("manual_positive", "true_positive"),
    "manual_negative": ("manual_negative", "true_negative"),
    "found_positive": ("found_positive",),
    "found_negative": ("found_negative",),
}
"""What is counted -> the columns that may hold it; true_ is how `ki67 evaluate` writes it."""


@dataclass(frozen=True, slots=True)
class CountedFields:
    """Fields with both counts.

    Attributes
    ----------
    left_out
        One line for each row that takes no part.
    weights_sha256, threshold
        Of the run the found counts are from; None where the table itself holds them.
    """

    fields: tuple[CountedField, ...]
    left_out: tuple[str, ...] = ()
    weights_sha256: str | None = None
    threshold: float | None = None


def read_counted_fields(path: Path) -> CountedFields:
    """Read a table with the manual and the pipeline's counts of each field.

    Columns: field (or slide, name, image), manual_positive, manual_negative, found_positive,
    found_negative, and group (or case, patient) where several fields are of one slide or case.

    Raises
    ------
    AnnotationError
        A column is missing, a count is none, or a field stands twice.
    """
    table = read_table(path)
    places = {name: table.needed(names) for name, names in COUNT_NAMES.items()}
    fields = [
        CountedField(
            name=name,
            group=group,
            **{key: _count(table, line, cells, place) for key, place in places.items()},
        )
        for line, cells, name, group in _named(table)
    ]
    return CountedFields(tuple(fields))


def join_counted_slides(path: Path, slides: SlideRows) -> CountedFields:
    """Read manual counts of slides and take the pipeline's from the slides.csv of a run.

    Columns: slide (id, file name or stem), manual_positive, manual_negative, and group.

    Raises
    ------
    AnnotationError
        As above; or the run's slides have several models or thresholds.
    """
    table = read_table(path)
    places = [table.needed(COUNT_NAMES[key]) for key in ("manual_positive", "manual_negative")]
    fields, left_out, used = [], [], []
    first_line: dict[str, int] = {}
    for line, cells, name, group in _named(table):
        rows = matching_rows(slides.rows, name)
        positive, negative = (_count(table, line, cells, place) for place in places)
        if len(rows) != 1 or not rows[0].cells.get("positive"):
            reason = _unusable(rows)
            left_out.append(f"{name} ({table.name} line {line}): {reason}")
            continue
        before = first_line.setdefault(rows[0].slide_id, line)
        if before != line:
            raise AnnotationError(
                f"{table.name}: lines {before} and {line} mean the same slide "
                f"({rows[0].slide_id}); keep one"
            )
        found = [_run_count(slides, rows[0], key) for key in ("positive", "negative")]
        fields.append(CountedField(name, group, positive, negative, found[0], found[1]))
        used.append(rows[0])
    weights, threshold = (_single(used, key) for key in ("weights_sha256", "threshold"))
    return CountedFields(
        tuple(fields), tuple(left_out), weights, float(threshold) if threshold else None
    )


def _named(table: NumberTable) -> list[tuple[int, tuple[str, ...], str, str]]:
    """Line, cells, field and group of each row; without a group each field is its own."""
    field, group = table.needed(FIELD_NAMES), table.column(GROUP_NAMES)
    names = Counter(cells[field] for _, cells in table.rows)
    twice = [name for name, count in names.items() if count > 1]
    if twice or "" in names:
        what = f"field {twice[0]!r} stands twice" if twice and twice[0] else "a line names no field"
        raise AnnotationError(f"{table.name}: {what}; give every line a name of its own")
    return [
        (line, cells, cells[field], (cells[group] if group is not None else "") or cells[field])
        for line, cells in table.rows
    ]


def _count(table: NumberTable, line: int, cells: tuple[str, ...], place: int) -> int:
    return read_count(cells[place], f"{table.name} line {line} column {table.columns[place]!r}")


def _run_count(slides: SlideRows, row: SlideRow, key: str) -> int:
    return read_count(row.cells.get(key, ""), f"{slides.name} line {row.line} column {key!r}")


def _unusable(rows: list[SlideRow]) -> str:
    if not rows:
        return "no such slide in the run; write its slide_id, name or stem"
    if len(rows) > 1:
        return f"ambiguous: it can be {', '.join(row.slide_id for row in rows)}"
    return f"status {rows[0].status}, no counts"


def _single(rows: list[SlideRow], key: str) -> str | None:
    values = sorted({row.cells.get(key, "") for row in rows} - {""})
    if len(values) > 1:
        raise AnnotationError(
            f"the slides were scored with {len(values)} values of {key} ({', '.join(values)}); "
            "calibrate one model at one threshold"
        )
    return values[0] if values else None
