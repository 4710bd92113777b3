"""The pipeline's indices beside manual ones: which slides meet, and which do not and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AnnotationError
from pipeline.io.manual_scores import LeftOut, ManualScores
from pipeline.io.number_table import NumberTable, read_number, read_table

SLIDES_NAME = "slides.csv"
USED_STATUSES = ("ok", "ok_with_flags")


@dataclass(frozen=True, slots=True)
class SlideRow:
    """One row of slides.csv that a comparison may use; texts of other columns by name."""

    slide_id: str
    name: str
    status: str
    index_pct: float | None
    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SlideRows:
    """The pipeline's table: its file name, and its rows in the table's order."""

    name: str
    rows: tuple[SlideRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class JoinedScores:
    """The slides that both tables hold.

    Attributes
    ----------
    rows
        Of the pipeline's table.
    found_pct
        The pipeline's indices, float64, one per row.
    readers
        Reader -> float64 indices, NaN where the reader gave none.
    left_out
        Everything that takes no part.
    """

    rows: tuple[SlideRow, ...]
    found_pct: NDArray[np.float64]
    readers: Mapping[str, NDArray[np.float64]]
    left_out: tuple[LeftOut, ...]


def read_slide_rows(path: Path, *, column: str = "index_pct") -> SlideRows:
    """Read ``slides.csv``, given itself or as the folder of a run.

    Parameters
    ----------
    column
        The index to compare.

    Raises
    ------
    AnnotationError
        There is no such file or column, or a value is no number.
    """
    file = path / SLIDES_NAME if path.is_dir() else path
    if not file.is_file():
        raise AnnotationError(
            f"{path.name or path}: no {SLIDES_NAME} there; name the folder of `ki67 run --out`"
        )
    table = read_table(file)
    places = {name: table.needed([name]) for name in ("slide_id", "name", "status")}
    index = table.needed([column])
    rows = [_row(table, line, cells, places, index) for line, cells in table.rows]
    return SlideRows(table.name, tuple(rows))


def join_scores(
    slides: SlideRows, manual: ManualScores, *, statuses: Sequence[str] = USED_STATUSES
) -> JoinedScores:
    """Join by slide id, else by file name with its folders, without them, without its suffix too.

    A manual name that fits several slides is left out, as are slides of another status or without
    an index, slides two manual names lead to, and whatever stands in one table only.
    """
    left_out = list(manual.left_out)
    hits: dict[str, list[str]] = {}
    for written, line in manual.lines.items():
        where = f"{manual.name} line {line}"
        found = matching_rows(slides.rows, written)
        if len(found) == 1:
            hits.setdefault(found[0].slide_id, []).append(written)
        else:
            left_out.append(LeftOut(written, where, _no_single_match(written, found)))
    kept: list[tuple[SlideRow, str]] = []
    for row in slides.rows:
        names = hits.get(row.slide_id, [])
        reason = _unusable(row, names, statuses)
        if reason is None:
            kept.append((row, names[0]))
        else:
            left_out.append(LeftOut(row.slide_id, f"{slides.name} line {row.line}", reason))
    readers = {
        reader: np.array([scores.get(written, math.nan) for _, written in kept], np.float64)
        for reader, scores in manual.scores.items()
    }
    found_pct = np.array([row.index_pct for row, _ in kept], np.float64)
    return JoinedScores(tuple(row for row, _ in kept), found_pct, readers, tuple(left_out))


def matching_rows(rows: Sequence[SlideRow], written: str) -> list[SlideRow]:
    """Return the slides that a written name means; more than one: it is ambiguous."""
    by_key = (
        lambda row: row.slide_id == written,
        lambda row: row.name == written,
        lambda row: PurePosixPath(row.name).name == written,
        lambda row: PurePosixPath(row.name).stem == written,
    )
    for fits in by_key:
        found = [row for row in rows if fits(row)]
        if found:
            return found
    return []


def _no_single_match(written: str, found: Sequence[SlideRow]) -> str:
    if not written:
        return "the line names no slide"
    if not found:
        return "no such slide in the pipeline's table; write its slide_id, name or stem"
    ids = ", ".join(row.slide_id for row in found)
    return f"ambiguous: it can be {ids}; write the slide_id"


def _unusable(row: SlideRow, names: Sequence[str], statuses: Sequence[str]) -> str | None:
    if not names:
        return "no manual score"
    if len(names) > 1:
        return f"two lines of the manual table mean it: {' and '.join(names)}; keep one"
    if row.index_pct is None:
        return f"status {row.status}, no index"
    if row.status not in statuses:
        return f"status {row.status}; --status {row.status} takes such slides in"
    return None


def _row(
    table: NumberTable,
    line: int,
    cells: tuple[str, ...],
    places: Mapping[str, int],
    index: int,
) -> SlideRow:
    where = f"{table.name} line {line} column {table.columns[index]!r}"
    value = read_number(cells[index], where)
    if value is not None and not 0 <= value <= 100:
        raise AnnotationError(
            f"{where}: {value:g} is outside 0 to 100; compare a column in percent"
        )
    texts = {key: cells[place] for key, place in places.items()}
    everything = dict(zip(table.columns, cells, strict=True))
    return SlideRow(texts["slide_id"], texts["name"], texts["status"], value, line, everything)
