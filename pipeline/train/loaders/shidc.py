"""SHIDC-B-Ki-67: JPEG images, a JSON list of x, y and class code per image."""

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import AnnotationError
from pipeline.train.config import Meaning, SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import (
    image_field,
    image_paths,
    note_orphans,
    without_annotation,
)
from pipeline.train.loaders.marks import Marks, marks_of

LABELS: dict[int, Meaning] = {1: "positive", 2: "negative", 3: "other"}
"""Code 3 is a lymphocyte: no tumour cell, so in no count and no index."""


def load_shidc(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images/PATIENT_FIELD_CROP.jpg`` with ``annotations/PATIENT_FIELD_CROP.json``.

    Without a folder ``images`` both lie side by side. Crops of one field of view are a group.
    """
    divided = (folder / "images").is_dir()
    images = folder / "images" if divided else folder
    tables = folder / "annotations" if divided else folder
    paths = image_paths(images, source)
    for path in paths:
        with faults.gathered():
            marks = _marks(tables / f"{path.stem}.json")
            yield image_field(path, marks, source, group=path.stem.rsplit("_", 1)[0])
    stored = ((table.stem, table) for table in tables.glob("*.json"))
    note_orphans(stored, (path.stem for path in paths), source, faults)


def _marks(path: Path) -> Marks:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise without_annotation(path) from error
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(rows, list):
        raise AnnotationError(f"{path}: holds no list of points; copy the set's own file again")
    points: list[tuple[float, float, Meaning]] = []
    for number, row in enumerate(rows, start=1):
        try:
            x, y, code = float(row["x"]), float(row["y"]), row["label_id"]
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{path}: point {number} has no x, y and label_id; correct or remove it"
            ) from error
        if code not in LABELS:
            raise AnnotationError(f"{path}: point {number} has unknown label_id {code}; use 1-3")
        points.append((x + 0.5, y + 0.5, LABELS[code]))
    return marks_of(points)
