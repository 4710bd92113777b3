"""Manual labelling indices: a table of slides by readers, wide or long, read strictly."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import AnnotationError
from pipeline.io.number_table import MISSING_WORDS, NumberTable, read_number, read_table

SLIDE_NAMES = ("slide_id", "slide", "name", "file", "id", "stem")
READER_NAMES = ("reader", "rater", "observer")
INDEX_NAMES = ("index_pct", "index", "ki67_pct", "ki67")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that takes no part, and why.

    Attributes
    ----------
    what
        Slide as its table writes it.
    where
        Table and line, or table alone.
    """

    what: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class ManualScores:
    """Indices by reader.

    Attributes
    ----------
    name
        Of the file.
    lines
        Slide as written -> first line it stands on.
    scores
        Reader -> slide as written -> index in percent; without the slides a reader left empty.
    left_out
        Values that stand twice.
    """

    name: str
    lines: Mapping[str, int]
    scores: Mapping[str, Mapping[str, float]]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class ManualForm:
    """How a table of manual scores is to be understood.

    Attributes
    ----------
    readers
        Columns (wide) or names (long) to take; empty: all.
    decimal_comma
        12,5 means 12.5.
    fraction
        Values are shares from 0 to 1, not percent.
    """

    readers: tuple[str, ...] = ()
    decimal_comma: bool = False
    fraction: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    slide: str
    reader: str
    value: float


def read_manual_scores(path: Path, form: ManualForm | None = None) -> ManualScores:
    """Read manual scores.

    Wide: a column of slides (slide_id, slide, name, file, id or stem) and one column per reader.
    Long: columns slide, reader and index. An empty cell is a slide that the reader did not score.

    Raises
    ------
    AnnotationError
        A column is missing or a value is no index, with file, line, column and remedy.
    """
    form = form or ManualForm()
    table = read_table(path)
    slide = table.needed(SLIDE_NAMES)
    reader, index = table.column(READER_NAMES), table.column(INDEX_NAMES)
    if reader is not None:
        place = table.needed(INDEX_NAMES) if index is None else index
        entries, readers = _long(table, (slide, reader, place), form)
    else:
        entries, readers = _wide(table, slide, form)
    kept, left_out = _without_doubles(entries, table.name)
    lines: dict[str, int] = {}
    for line, cells in table.rows:
        lines.setdefault(cells[slide], line)
    scores: dict[str, dict[str, float]] = {name: {} for name in readers}
    for entry in kept:
        scores[entry.reader][entry.slide] = entry.value
    return ManualScores(table.name, lines, scores, left_out)


def check_scale(manual: ManualScores, found_pct: Sequence[float], *, fraction: bool) -> None:
    """Refuse shares given as percent.

    Parameters
    ----------
    found_pct
        Indices of the pipeline for the same slides.

    Raises
    ------
    AnnotationError
        A reader never exceeds 1 though the pipeline's indices are far above.
    """
    if fraction or not found_pct:
        return
    middle = sorted(found_pct)[len(found_pct) // 2]
    for reader, scores in manual.scores.items():
        highest = max(scores.values(), default=0.0)
        if 0 < highest <= 1 and len(scores) > 1 and middle > 5 * highest:
            raise AnnotationError(
                f"{manual.name} column {reader!r}: no value above {highest:g} while half of the "
                f"pipeline's are {middle:.3g} % or more: if these are shares from 0 to 1, give "
                "--fraction"
            )


def _wide(table: NumberTable, slide: int, form: ManualForm) -> tuple[list[_Entry], tuple[str, ...]]:
    every = [name for place, name in enumerate(table.columns) if place != slide and name]
    _check_readers(table, form.readers, every)
    readers = form.readers or tuple(every)
    if not readers:
        raise AnnotationError(f"{table.name}: no column of indices beside the slides; add one")
    places = {name: table.columns.index(name) for name in readers}
    entries = []
    for line, cells in table.rows:
        for name, place in places.items():
            value = _index(cells[place], f"{table.name} line {line} column {name!r}", form)
            if value is not None:
                entries.append(_Entry(line, cells[slide], name, value))
    return entries, readers


def _long(
    table: NumberTable, places: tuple[int, int, int], form: ManualForm
) -> tuple[list[_Entry], tuple[str, ...]]:
    slide, reader, index = places
    every = list(dict.fromkeys(cells[reader] for _, cells in table.rows))
    if any(name.lower() in MISSING_WORDS for name in every):
        raise AnnotationError(f"{table.name}: a line names no reader; fill the column")
    _check_readers(table, form.readers, every)
    readers = form.readers or tuple(every)
    entries = []
    for line, cells in table.rows:
        value = _index(cells[index], f"{table.name} line {line}", form)
        if cells[reader] in readers and value is not None:
            entries.append(_Entry(line, cells[slide], cells[reader], value))
    return entries, readers


def _check_readers(table: NumberTable, wanted: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise AnnotationError(
            f"{table.name}: no reader {unknown[0]!r}; it has {', '.join(known) or 'none'}"
        )


def _index(text: str, where: str, form: ManualForm) -> float | None:
    value = read_number(text, where, decimal_comma=form.decimal_comma)
    if value is None:
        return None
    top = 1 if form.fraction else 100
    if not 0 <= value <= top:
        remedy = (
            "as a share from 0 to 1, or leave --fraction out" if form.fraction else "in percent"
        )
        raise AnnotationError(
            f"{where}: {text!r} is outside 0 to {top}; write the index {remedy}, or name the "
            "readers' columns with --reader"
        )
    return value * 100 if form.fraction else value


def _without_doubles(
    entries: Sequence[_Entry], name: str
) -> tuple[list[_Entry], tuple[LeftOut, ...]]:
    count = Counter((entry.slide, entry.reader) for entry in entries)
    first: dict[tuple[str, str], LeftOut] = {}
    for entry in entries:
        key = entry.slide, entry.reader
        if count[key] > 1:
            reason = f"{entry.reader} scored it {count[key]} times; keep one line"
            first.setdefault(key, LeftOut(entry.slide, f"{name} line {entry.line}", reason))
    kept = [entry for entry in entries if count[entry.slide, entry.reader] == 1]
    return kept, tuple(first.values())
