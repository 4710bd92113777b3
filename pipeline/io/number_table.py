"""Tables people type: CSV files whose numbers are read strictly and refused with a remedy."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import AnnotationError

MISSING_WORDS = frozenset({"", "na", "n/a", "n.a.", "nan", "none", "null", "-", "–", "."})
"""What a cell holds when nobody gave a number, in small letters."""
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class NumberTable:
    """A CSV file as text.

    Attributes
    ----------
    name
        Of the file, for messages.
    columns
        As in the header, stripped.
    rows
        (line number in the file, cells), as many cells as columns.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def column(self, names: Sequence[str]) -> int | None:
        """Return the place of the first of these names, small and capital letters alike."""
        lowered = [column.lower() for column in self.columns]
        return next((lowered.index(name) for name in names if name in lowered), None)

    def needed(self, names: Sequence[str]) -> int:
        """Return the place of the first of these names.

        Raises
        ------
        AnnotationError
            There is no such column.
        """
        place = self.column(names)
        if place is None:
            raise AnnotationError(
                f"{self.name}: no column {' or '.join(names)}; it has {', '.join(self.columns)}"
            )
        return place


def read_table(path: Path) -> NumberTable:
    """Read a CSV file with a header; comma, semicolon and tab are told from the header.

    Raises
    ------
    AnnotationError
        It cannot be read, is empty, names a column twice, or a line has too many or too few cells.
    """
    lines = _text(path).splitlines()
    if not lines or not lines[0].strip():
        raise AnnotationError(f"{path.name}: no header line; name the columns in the first line")
    delimiter = max(_DELIMITERS, key=lines[0].count)
    reader = csv.reader(lines, delimiter=delimiter)
    columns = tuple(cell.strip() for cell in next(reader))
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise AnnotationError(f"{path.name}: column {doubled[0]!r} stands twice; rename one")
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise AnnotationError(
                f"{path.name} line {reader.line_num}: {len(cells)} cells under {len(columns)} "
                "columns; write decimal points, not commas, and quote texts that hold the separator"
            )
        rows.append((reader.line_num, tuple(cell.strip() for cell in cells)))
    if not rows:
        raise AnnotationError(f"{path.name}: a header and no line below it")
    return NumberTable(path.name, columns, tuple(rows))


def read_number(text: str, where: str, *, decimal_comma: bool = False) -> float | None:
    """Read a finite number, None for an empty cell or a word for "not given".

    Parameters
    ----------
    where
        File, line and column, for the message.
    decimal_comma
        12,5 means 12.5.

    Raises
    ------
    AnnotationError
        It has a percent sign or a decimal comma, or is no finite number.
    """
    if text.lower() in MISSING_WORDS:
        return None
    if "%" in text:
        raise AnnotationError(f"{where}: {text!r} has a percent sign; write the number alone")
    plain = text
    if "," in text:
        if not decimal_comma:
            raise AnnotationError(
                f"{where}: {text!r} has a comma; write a decimal point, or give --decimal-comma"
            )
        plain = text.replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(
            f"{where}: {text!r} is no number; write one number, or leave the cell empty"
        )
    return value


def read_count(text: str, where: str) -> int:
    """Read a whole number of cells.

    Raises
    ------
    AnnotationError
        It is missing, negative or no whole number.
    """
    value = read_number(text, where)
    if value is None:
        raise AnnotationError(f"{where}: no count; write the number of cells, 0 for none")
    if value < 0 or value != int(value):
        raise AnnotationError(f"{where}: {text!r} cells cannot be; write a whole number from 0 up")
    return int(value)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path.name}: not UTF-8; save it as CSV UTF-8") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AnnotationError(f"{path.name}: cannot be read ({reason})") from error
