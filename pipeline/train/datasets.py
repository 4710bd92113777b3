"""Annotated fields from the forms in which data sets store them."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import UNCLASSED, Field

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LABELS = {"positive": POSITIVE, "negative": NEGATIVE, "cell": UNCLASSED}
NOT_TUMOUR = frozenset({"lymphocyte"})
"""Marked in some sets, not part of the labelling index: left out."""
SHIDC_LABELS = {1: POSITIVE, 2: NEGATIVE, 3: None}

Points = tuple[NDArray[np.float64], NDArray[np.uint8]]
"""``(N, 2)`` pixel indices x, y as stored, and ``(N,)`` labels."""


def load_fields(source: SourceConfig, *, data: Path = Path()) -> list[Field]:
    """Read every field of a source, ordered by name.

    Parameters
    ----------
    source
        Its relative path starts from ``data``.
    data
        Folder of the data sets.

    Raises
    ------
    AnnotationError
        A folder, an image or an annotation is missing, unreadable or contradictory.
    """
    if source.kind == "synthetic":
        return _synthetic(source)
    readers: Mapping[str, Callable[[Path, SourceConfig], list[Field]]] = {
        "bcdata": _bcdata,
        "shidc": _shidc,
        "points": _points_table,
    }
    folder = data / (source.path or "")
    if not folder.is_dir():
        raise AnnotationError(f"source {source.name!r}: there is no folder {folder}")
    fields = readers[source.kind](folder, source)
    if not fields:
        raise AnnotationError(f"source {source.name!r}: no image in {folder} fits its patterns")
    return fields


def _bcdata(folder: Path, source: SourceConfig) -> list[Field]:
    """``images/N.png`` with ``annotations/{positive,negative}/N.h5``."""
    fields = []
    for path in _images(folder / "images", source):
        parts = [
            _h5_points(folder / "annotations" / word / f"{path.stem}.h5", label)
            for word, label in (("positive", POSITIVE), ("negative", NEGATIVE))
        ]
        # neighbouring numbers may show one slide
        block = int(path.stem) // source.group_size if path.stem.isdigit() else path.stem
        fields.append(_field(path, f"block-{block}", _join(parts), source))
    return fields


def _shidc(folder: Path, source: SourceConfig) -> list[Field]:
    """``images/patient_field_crop.jpg`` with ``annotations/patient_field_crop.json``."""
    fields = []
    for path in _images(folder / "images", source):
        points = _json_points(folder / "annotations" / f"{path.stem}.json")
        fields.append(_field(path, path.stem.rsplit("_", 1)[0], points, source))
    return fields


def _points_table(folder: Path, source: SourceConfig) -> list[Field]:
    """``images/`` (or the folder itself) with ``points.csv``: image, x, y, label.

    A row with empty x and y says that the image has no cell.
    """
    table = _read_table(folder / "points.csv")
    images = folder / "images" if (folder / "images").is_dir() else folder
    fields = []
    for path in _images(images, source):
        if path.name not in table:
            raise AnnotationError(
                f"{path.name}: no annotation in {folder / 'points.csv'}; "
                "add a row with empty x and y if it has no cell, or exclude it"
            )
        fields.append(_field(path, path.stem.split("_")[0], table[path.name], source))
    return fields


def _synthetic(source: SourceConfig) -> list[Field]:
    from pipeline.io.synthetic import DEMO_RANGES, TRAINING_RANGES, render_field

    ranges = TRAINING_RANGES if source.ranges == "training" else DEMO_RANGES
    fields = []
    for seed in range(source.seed, source.seed + source.count):
        image, x_px, y_px, label = render_field(seed, source.size_px, source.image_mpp_um, ranges)
        name = f"synthetic-{seed}"
        fields.append(Field(name, name, image, x_px, y_px, label, source.image_mpp_um))
    return fields


def _images(folder: Path, source: SourceConfig) -> list[Path]:
    if not folder.is_dir():
        raise AnnotationError(f"source {source.name!r}: there is no folder {folder}")
    paths = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in paths if _wanted(path.stem, source))


def _wanted(stem: str, source: SourceConfig) -> bool:
    def fits(patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(stem, pattern) for pattern in patterns)

    return fits(source.include) and not fits(source.exclude)


def _field(path: Path, group: str, points: Points, source: SourceConfig) -> Field:
    try:
        with Image.open(path) as opened:
            image = np.asarray(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise AnnotationError(f"{path}: the image cannot be read ({error})") from error
    pixels, label = points
    # stored coordinates are pixel indices: the pixel's centre is half a pixel further
    x_px, y_px = pixels[:, 0] + 0.5, pixels[:, 1] + 0.5
    return Field(path.stem, group, image, x_px, y_px, label, source.image_mpp_um)


def _h5_points(path: Path, label: int) -> Points:
    try:
        with h5py.File(path) as stored:
            xy = np.asarray(stored["coordinates"], np.float64).reshape(-1, 2)
    except FileNotFoundError as error:
        raise AnnotationError(
            f"{path}: the image's annotation is missing; add it or exclude the image"
        ) from error
    except (OSError, KeyError, ValueError) as error:
        raise AnnotationError(f"{path}: no table 'coordinates' of x, y ({error})") from error
    return xy, np.full(len(xy), label, np.uint8)


def _json_points(path: Path) -> Points:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AnnotationError(
            f"{path}: the image's annotation is missing; add it or exclude the image"
        ) from error
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: cannot be read as JSON ({error})") from error
    points, labels = [], []
    for number, row in enumerate(rows, start=1):
        try:
            x, y, code = float(row["x"]), float(row["y"]), row["label_id"]
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{path}: point {number} has no x, y and label_id") from error
        if code not in SHIDC_LABELS:
            raise AnnotationError(f"{path}: point {number} has unknown label_id {code}; use 1-3")
        label = SHIDC_LABELS[code]
        if label is not None:
            points.append((x, y))
            labels.append(label)
    return np.array(points, np.float64).reshape(-1, 2), np.array(labels, np.uint8)


def _read_table(path: Path) -> dict[str, Points]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read ({error})") from error
    collected: dict[str, list[tuple[float, float, int]]] = {}
    for line, row in enumerate(rows, start=2):
        cells = collected.setdefault(row.get("image") or "", [])
        parsed = _table_row(path, line, row)
        if parsed is not None:
            cells.append(parsed)
    return {
        image: (
            np.array([cell[:2] for cell in cells], np.float64).reshape(-1, 2),
            np.array([cell[2] for cell in cells], np.uint8),
        )
        for image, cells in collected.items()
    }


def _table_row(
    path: Path, line: int, row: Mapping[str, str | None]
) -> tuple[float, float, int] | None:
    if any(row.get(key) is None for key in ("image", "x", "y", "label")):
        raise AnnotationError(f"{path}:{line}: the columns image, x, y, label are needed")
    label = str(row["label"]).strip()
    if (not row["x"] and not row["y"]) or label in NOT_TUMOUR:
        return None
    if label not in LABELS:
        known = ", ".join([*LABELS, *NOT_TUMOUR])
        raise AnnotationError(f"{path}:{line}: unknown label {label!r}; known: {known}")
    try:
        return float(str(row["x"])), float(str(row["y"])), LABELS[label]
    except ValueError as error:
        raise AnnotationError(f"{path}:{line}: x or y is no number") from error


def _join(parts: list[Points]) -> Points:
    return np.concatenate([xy for xy, _ in parts]), np.concatenate([label for _, label in parts])
