"""A manifest: a CSV table that names slides and says what is special about each.

Every line is checked before anything starts, and all that is wrong is said at once. A slide or a
region file that is not there is no fault of the table: it fails as a slide, the others go on.
"""

import csv
import difflib
import io
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from pipeline.config import MPP_RANGE_UM
from pipeline.errors import ManifestError
from pipeline.io.remote import is_url
from pipeline.io.searching import represented

COLUMNS = {
    "slide": "path relative to the manifest's folder, absolute path or URL; the only needed one",
    "mpp": "micrometres per pixel, overriding what the file says",
    "roi": "file of the region of interest, relative to the manifest's folder",
    "group": "the case; slides of one case share a row of cases.csv",
    "include": "yes or no; no leaves the slide out",
    "skip": "why the slide is left out, or yes; empty or no takes it",
}
MANIFEST_SUFFIXES = (".csv", ".tsv")
MOST_ERRORS = 20

_YES = frozenset(("yes", "y", "true", "1", "x"))
_NO = frozenset(("", "no", "n", "false", "0"))
_MISSING = frozenset(("", "na", "n/a", "nan", "none", "null", "-"))
_LONGEST_PATH, _LONGEST_TEXT = 4096, 200


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One slide of a manifest.

    Attributes
    ----------
    line
        Where its row starts in the file, from 1.
    outside
        It does not lie below the manifest's folder.
    group
        None without such a column, empty where the cell is.
    """

    line: int
    location: str
    relative: str
    outside: bool
    group: str | None = None
    mpp: float | None = None
    roi: str | None = None
    skipped: str | None = None

    @property
    def says(self) -> tuple[object, ...]:
        """What the table says of the slide."""
        return (self.group, self.mpp, self.roi, self.skipped)


def is_manifest(path: Path) -> bool:
    """Whether a named file is a manifest: by its suffix."""
    return path.suffix.lower() in MANIFEST_SUFFIXES


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a manifest; comma, semicolon and tab are told from the header.

    Raises
    ------
    ManifestError
        It cannot be read, a column is unknown, or lines are wrong: one line of message each.
    """
    lines = _lines(path)
    columns = _columns(path.name, lines)
    folder = Path(os.path.normpath(path.parent.absolute()))
    errors: list[str] = []
    rows: dict[str, ManifestRow] = {}
    for number, cells in lines[1:]:
        where = f"{path.name} line {number}"
        if len(cells) != len(columns):
            errors.append(
                f"{where}: {len(cells)} cells under {len(columns)} columns; write decimal points, "
                "and quote texts that hold the separator"
            )
            continue
        row, wrong = _row(number, dict(zip(columns, cells, strict=True)), folder, where)
        errors += wrong
        if row is None:
            continue
        known = rows.setdefault(row.location, row)
        if known.says != row.says:
            errors.append(
                f"{where}, column slide: {row.relative!r} stands in line {known.line} with other "
                "settings; keep one of the two"
            )
    if errors:
        rest = [f"and {len(errors) - MOST_ERRORS} more"] if len(errors) > MOST_ERRORS else []
        raise ManifestError(*errors[:MOST_ERRORS], *rest)
    if not rows:
        raise ManifestError(f"{path.name}: a header and no slide below it; add one line a slide")
    return list(rows.values())


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Lines that are not empty, with their number; a cell in quotes may hold line breaks."""
    text = _text(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True
    )
    lines, start = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((start, [cell.strip() for cell in cells]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(
            f"{path.name} line {start}: no CSV ({error}); close its quotes or save the table again"
        ) from error
    if not lines:
        raise ManifestError(f"{path.name}: empty; write a header with a column slide")
    return lines


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ManifestError(f"{path.name}: cannot be read ({reason})") from error
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path.name} line {line}: not UTF-8; save it as CSV UTF-8") from error


def _columns(name: str, lines: list[tuple[int, list[str]]]) -> list[str]:
    number, cells = lines[0]
    columns = [cell.lower() for cell in cells]
    errors = []
    for column in dict.fromkeys(columns):
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COLUMNS)}"
            errors.append(f"{name} line {number}: unknown column {column!r}; {hint}")
        elif columns.count(column) > 1:
            errors.append(f"{name} line {number}: column {column!r} stands twice; rename one")
    if "slide" not in columns:
        errors.append(f"{name} line {number}: no column slide; it holds the path of each slide")
    if errors:
        raise ManifestError(*errors[:MOST_ERRORS])
    return columns


def _row(
    line: int, cells: dict[str, str], folder: Path, where: str
) -> tuple[ManifestRow | None, list[str]]:
    errors = [
        f"{where}, column {column}: {shown}; {remedy}"
        for column, text in cells.items()
        for shown, remedy in _complaints(column, text, folder)
    ]
    if errors:
        return None, errors
    location, inside = _location(cells["slide"], folder)
    mpp, roi = cells.get("mpp", ""), cells.get("roi", "")
    return (
        ManifestRow(
            line,
            location,
            inside or "/".join(Path(location).parts[-2:]),
            outside=not inside,
            group=cells.get("group"),
            mpp=None if mpp.lower() in _MISSING else float(mpp),
            roi=None if roi.lower() in _MISSING else _local(roi, folder),
            skipped=_skipped(cells),
        ),
        [],
    )


def _complaints(column: str, text: str, folder: Path) -> list[tuple[str, str]]:
    """What is wrong with one cell, and what to do."""
    shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        return [(f"{shown} holds a line break or control character", "remove it")]
    longest = _LONGEST_PATH if column in ("slide", "roi") else _LONGEST_TEXT
    if len(text) > longest:
        return [(f"{shown} has {len(text)} characters", f"use {longest} at most")]
    if column == "slide" and not text:
        return [("empty", "name the slide or remove the line")]
    if column == "slide" and not is_url(text) and Path(_local(text, folder)).is_dir():
        return [(f"{shown} is a folder", "name the slide's file")]
    if column == "mpp" and text.lower() not in _MISSING:
        return _mpp_complaint(text, shown)
    if column == "include" and text.lower() not in _YES | _NO:
        return [(f"{shown} is neither yes nor no", "write one of the two")]
    return []


def _mpp_complaint(text: str, shown: str) -> list[tuple[str, str]]:
    low, high = MPP_RANGE_UM
    try:
        value = float(text)
    except ValueError:
        remedy = f"write micrometres per pixel like 0.25, from {low} to {high}, or leave it empty"
        return [(f"{shown} is no number", remedy)]
    if low <= value <= high:
        return []
    return [(f"{shown} is outside {low} to {high}", "write micrometres per pixel like 0.25")]


def _skipped(cells: dict[str, str]) -> str | None:
    skip, include = cells.get("skip", ""), cells.get("include", "yes")
    if skip.lower() in _NO:
        # an empty cell of the include column means the default, yes
        left_out = include.lower() in _NO and include != ""
        return "left out by the manifest (include: no)" if left_out else None
    return "left out by the manifest" if skip.lower() in _YES else skip


def _location(text: str, folder: Path) -> tuple[str, str]:
    """Location of a slide, and its path below the folder; empty where it is not below."""
    if is_url(text):
        return text, ""
    path = represented(Path(_local(text, folder)))
    inside = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""
    return str(path), inside


def _local(text: str, folder: Path) -> str:
    """Find a file as it is written, with other accents, or with the slashes of Windows."""
    spellings = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    if "\\" in text:
        spellings.append(PureWindowsPath(text).as_posix())
    places = [os.path.normpath(folder / Path(name).expanduser()) for name in spellings]
    return next((place for place in places if os.path.lexists(place)), places[0])
