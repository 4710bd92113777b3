"""Annotated fields that a mosaic slide can be made of: images and a table of marked cells."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
LABELS = {"positive": POSITIVE, "negative": NEGATIVE}
NOT_TUMOUR = frozenset({"lymphocyte"})
"""Marked in some sets, no part of the labelling index: drawn, but not in the truth."""


@dataclass(frozen=True, slots=True, eq=False)
class MosaicField:
    """One annotated image and its marked cells.

    `x_px`, `y_px` float64 (n,): continuous coordinates in the stored image, pixel centres at
    +0.5; `label` uint8 (n,): 1 positive, 0 negative.
    """

    path: Path
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    label: NDArray[np.uint8]


def read_mosaic_fields(folder: Path, images: Sequence[str] = ("*",)) -> list[MosaicField]:
    """Read the annotations of a folder: `images/` (or the folder itself) and `points.csv`.

    Parameters
    ----------
    folder : Path
        Holds points.csv with the columns image, x, y, label (x = column, y = row, pixel indices).
        A row with empty x and y says that its image has no cell.
    images : sequence of str
        Names or patterns (`*`, `?`) of images, with or without suffix; each must match one.

    Returns
    -------
    list of MosaicField
        Ordered by name.

    Raises
    ------
    AnnotationError
        Nothing to read, a pattern without an image, or a label without a class.
    """
    table = _read_table(folder / "points.csv")
    home = folder / "images" if (folder / "images").is_dir() else folder
    paths = sorted(path for path in home.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    for pattern in images:
        if not any(_fits(path, pattern) for path in paths):
            raise AnnotationError(f"no image in {home.name}/ fits {pattern!r}; check the name")
    chosen = [path for path in paths if any(_fits(path, pattern) for pattern in images)]
    if not chosen:
        raise AnnotationError(f"no images in {home.name}/: expected {sorted(IMAGE_SUFFIXES)}")
    return [_field(path, table) for path in chosen]


def open_image(path: Path) -> Image.Image:
    """Open an image lazily; an unreadable one is an AnnotationError that names it."""
    try:
        return Image.open(path)
    except (OSError, UnidentifiedImageError) as error:
        raise AnnotationError(f"{path.name}: not a readable image ({error})") from error


def _fits(path: Path, pattern: str) -> bool:
    return fnmatchcase(path.name, pattern) or fnmatchcase(path.stem, pattern)


def _field(path: Path, table: Mapping[str, list[tuple[float, float, str]]]) -> MosaicField:
    if path.name not in table:
        raise AnnotationError(
            f"{path.name}: no row in points.csv; add one with empty x and y if it has no cell, "
            "or choose other images"
        )
    rows = list(_classed(path.name, table[path.name]))
    points = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2) + 0.5
    label = np.array([row[2] for row in rows], np.uint8)
    with open_image(path) as image:
        beyond = (points < 0).any(1) | (points >= (image.width, image.height)).any(1)
    if beyond.any():
        x, y = points[int(np.argmax(beyond))] - 0.5
        raise AnnotationError(f"{path.name}: point ({x:g}, {y:g}) lies outside the image")
    return MosaicField(path, points[:, 0], points[:, 1], label)


def _classed(
    name: str, rows: Sequence[tuple[float, float, str]]
) -> Iterator[tuple[float, float, int]]:
    for x, y, word in rows:
        if word in NOT_TUMOUR:
            continue
        if word not in LABELS:
            raise AnnotationError(
                f"{name}: label {word!r} has no class; a truth needs positive or negative "
                "(lymphocyte is left out), so choose fields whose cells are classed"
            )
        yield x, y, LABELS[word]


def _read_table(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Rows of points.csv by image name; a row without x and y adds none."""
    table: dict[str, list[tuple[float, float, str]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = {"image", "x", "y", "label"} - set(reader.fieldnames or ())
            if missing:
                raise AnnotationError(f"points.csv: no column {sorted(missing)}")
            for row in reader:
                points = table.setdefault(row["image"], [])
                if row["x"] or row["y"]:
                    points.append(_point(reader.line_num, row))
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path.name}: cannot be read ({error})") from error
    return table


def _point(line: int, row: Mapping[str, str]) -> tuple[float, float, str]:
    try:
        return float(row["x"]), float(row["y"]), (row["label"] or "").strip().lower()
    except (TypeError, ValueError) as error:
        raise AnnotationError(f"points.csv line {line}: x and y must be numbers") from error
