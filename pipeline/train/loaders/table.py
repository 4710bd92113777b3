"""Images with one table of marked cells: what a laboratory has, in pixels or micrometres."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from pipeline.errors import AnnotationError
from pipeline.train.config import Meaning, SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import IMAGE_SUFFIXES, image_field, image_paths, wanted
from pipeline.train.loaders.marks import marks_of, meaning_of

TABLE_NAMES = ("points.csv", "points.tsv", "points.txt")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "image name", "file", "filename"),
    "x": ("x", "x_px"),
    "y": ("y", "y_px"),
    "x_um": ("x_um", "x um", "centroid x µm", "centroid x um"),
    "y_um": ("y_um", "y um", "centroid y µm", "centroid y um"),
    "x_corner": ("centroid x px",),
    "y_corner": ("centroid y px",),
    "label": ("label", "class", "classification"),
    "group": ("group",),
}
"""Our name -> headings that are taken for it, in lower case; the last ones are QuPath's."""
_PLACES = ("x", "x_um", "x_corner")


@dataclass(slots=True)
class _Rows:
    """What the table says of one image."""

    points: list[tuple[float, float, Meaning]] = field(default_factory=list)
    group: str = ""


def load_table(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read a table and the images beside it, or in ``images/`` beside it.

    A row with empty coordinates says that the image has no cell. Images whose names begin alike
    up to the first ``_`` are a group, unless the table has a column ``group``.
    """
    path = folder if folder.is_file() else _table_path(folder)
    home = path.parent / "images" if (path.parent / "images").is_dir() else path.parent
    table = _read_table(path, source, faults)
    paths = image_paths(home, source)
    for image in paths:
        # with its suffix and without: one table may name an image both ways
        found = [table[name] for name in (image.name, image.stem) if name in table]
        if not found:
            faults.add(
                f"{image.name}: no annotation in {path}; "
                "add a row with empty x and y if it has no cell, or exclude it"
            )
            continue
        with faults.gathered():
            points = [point for rows in found for point in rows.points]
            group = next((rows.group for rows in found if rows.group), image.stem.split("_")[0])
            yield image_field(image, marks_of(points), source, group=group)
    there = {image.name for image in paths} | {image.stem for image in paths}
    for name in sorted(table):
        if name not in there and wanted(_stem(name), source):
            bare = PureWindowsPath(name).name  # either kind of slash
            remedy = f"write {bare!r}, no folder" if bare in there else "add it"
            faults.add(f"{path}: annotates {name!r}, an image that is not in {home}; {remedy}")


def _stem(name: str) -> str:
    """A name without its suffix; a dot inside a name is no suffix."""
    return name.rpartition(".")[0] if name.lower().endswith(IMAGE_SUFFIXES) else name


def _table_path(folder: Path) -> Path:
    for name in TABLE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise AnnotationError(f"{folder}: there is no points.csv; name the table or put one there")


def _read_table(path: Path, source: SourceConfig, faults: Faults) -> dict[str, _Rows]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read ({error}); save it as UTF-8") from error
    lines = text.splitlines()
    reader = csv.reader(lines, delimiter=_delimiter(lines[0] if lines else ""))
    places = _places(path, next(reader, []), source)
    table: dict[str, _Rows] = {}
    words: dict[str, Meaning | None] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        with faults.gathered():
            row = _Row(path, reader.line_num, places, cells)
            rows = table.setdefault(row.text("image"), _Rows())
            if "group" in places:
                rows.group = rows.group or row.text("group")
            place = _place(row, source)
            if place is None:
                continue
            meaning = _meaning(row, source, words)
            if meaning is not None:
                rows.points.append((*place, meaning))
    return table


def _delimiter(header: str) -> str:
    return max("\t;,", key=header.count)


def _places(path: Path, header: list[str], source: SourceConfig) -> dict[str, int]:
    """Column number of each of our names."""
    headings = [heading.strip().lower() for heading in header]
    found = {
        name: headings.index(heading)
        for name, known in COLUMNS.items()
        for heading in known
        if heading in headings
    }
    placed = any(x in found and x.replace("x", "y", 1) in found for x in _PLACES)
    if not placed or not {"image", "label"} <= found.keys():
        raise AnnotationError(
            f"{path}: the columns image, x, y, label are needed (x_um, y_um for micrometres); "
            f"there are: {', '.join(header) or 'none'}"
        )
    if "x_um" in found and source.mpp_um is None:
        raise AnnotationError(f"{path}: micrometres need mpp_um to become pixels; give it")
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table."""

    path: Path
    line: int
    places: Mapping[str, int]
    cells: list[str]

    def text(self, name: str) -> str:
        """The cell of one of our columns, bare."""
        if self.places[name] >= len(self.cells):
            raise AnnotationError(
                f"{self.path}:{self.line}: the columns image, x, y, label are needed; "
                f"this line has {len(self.cells)} of {1 + max(self.places.values())}"
            )
        return self.cells[self.places[name]].strip()

    def fault(self, message: object) -> AnnotationError:
        """Make an error that names the line."""
        return AnnotationError(f"{self.path}:{self.line}: {message}")


def _meaning(row: _Row, source: SourceConfig, words: dict[str, Meaning | None]) -> Meaning | None:
    """What the row's label stands for; an unknown word is a fault once, not on every line."""
    word = row.text("label")
    if word in words:
        return words[word]
    words[word] = None
    try:
        words[word] = meaning_of(word, source.labels)
    except AnnotationError as error:
        raise row.fault(error) from error
    return words[word]


def _place(row: _Row, source: SourceConfig) -> tuple[float, float] | None:
    """Continuous x, y in pixels; None for a line without coordinates."""
    x_name = next(name for name in _PLACES if name in row.places)
    x_text, y_text = row.text(x_name), row.text(x_name.replace("x", "y", 1))
    label = row.text("label")
    if not x_text and not y_text:
        return None
    try:
        x, y = float(x_text), float(y_text)
    except ValueError as error:
        commas = "," in x_text + y_text
        remedy = "write decimal points, not commas" if commas else "correct it"
        raise row.fault(
            f"x or y is no number: {x_text!r}, {y_text!r} (label {label!r}); {remedy}"
        ) from error
    if x_name == "x_um":
        return x / source.image_mpp_um, y / source.image_mpp_um
    # x and y are pixel indices, whose centres are half a pixel further; QuPath counts from corners
    half = 0.5 if x_name == "x" else 0.0
    return x + half, y + half
