"""Candidates of a detector in a file: figures can be made again without the network."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.io.files import atomic_path
from pipeline.train.detection import Detection
from pipeline.train.evaluate import FoundCells
from pipeline.train.fields import UNCLASSED, Field
from pipeline.train.loaders.paper import FOUND_COLUMNS, read_points

SCHEMA = 1
PREDICTIONS_NAME = "predictions.json"


def write_predictions(path: Path, sets: Mapping[str, tuple[Sequence[Field], Detection]]) -> None:
    """Write what one detector found on sets of fields, every number so that it reads back equal.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    stored = {
        "schema": SCHEMA,
        "sets": {
            name: {
                "model": detection.model,
                "threshold": detection.threshold,
                "floor": detection.floor,
                "classed": detection.classed,
                "fields": {
                    field.name: _columns(field, cells)
                    for field, cells in zip(fields, detection.candidates, strict=True)
                },
            }
            for name, (fields, detection) in sets.items()
        },
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(stored, separators=(",", ":")) + "\n", encoding="utf-8")


def read_predictions(path: Path, sets: Mapping[str, Sequence[Field]]) -> dict[str, Detection]:
    """Read stored candidates for the fields of each set.

    Parameters
    ----------
    path
        As ``write_predictions`` writes it, or a text file ``id n x1 y1 x2 y2 ...`` per line in the
        512-pixel frame, as the published method's code writes it. A file of one set fits a set of
        any name.

    Raises
    ------
    AnnotationError
        Unreadable, or a field is missing or has another size.
    """
    if path.suffix.lower() == ".txt":
        return {name: _text_detection(path, fields) for name, fields in sets.items()}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        parts: dict[str, Any] = stored["sets"] if stored["schema"] == SCHEMA else {}
        only = next(iter(parts.values())) if len(parts) == len(sets) == 1 else None
        return {
            name: _detection(path, parts.get(name, only), name, fields)
            for name, fields in sets.items()
        }
    except AnnotationError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path}: holds no predictions ({error}); write them with ki67 evaluate --out"
        ) from error


def _columns(field: Field, cells: FoundCells) -> dict[str, Any]:
    height, width = field.image.shape[:2]
    return {
        "width": width,
        "height": height,
        "mpp_um": field.mpp_um,
        "x_px": cells.x_px.tolist(),
        "y_px": cells.y_px.tolist(),
        "label": cells.label.tolist(),
        # the shortest text that reads back as the same float32
        "score": [float(str(score)) for score in cells.score],
    }


def _detection(path: Path, part: Any, name: str, fields: Sequence[Field]) -> Detection:
    if part is None:
        raise AnnotationError(f"{path}: no predictions of the set {name!r}; evaluate it first")
    stored = part["fields"]
    return Detection(
        model=str(part["model"]),
        threshold=part["threshold"],
        floor=part["floor"],
        classed=bool(part["classed"]),
        candidates=tuple(_cells(path, stored.get(field.name), field) for field in fields),
    )


def _cells(path: Path, columns: Any, field: Field) -> FoundCells:
    if columns is None:
        raise AnnotationError(f"{path}: no predictions of the field {field.name!r}; exclude it")
    height, width = field.image.shape[:2]
    if (columns["width"], columns["height"]) != (width, height):
        raise AnnotationError(
            f"{path}: {field.name} was {columns['width']} x {columns['height']} px and is now "
            f"{width} x {height}; run the model again"
        )
    if not math.isclose(columns["mpp_um"], field.mpp_um, rel_tol=1e-6):
        raise AnnotationError(
            f"{path}: {field.name} had {columns['mpp_um']:g} um per pixel and now has "
            f"{field.mpp_um:g}; run the model again"
        )
    number = len(columns["x_px"])
    lengths = {len(columns["y_px"]), len(columns["label"]), len(columns["score"]) or number}
    if lengths != {number}:  # a detector without a network gives no scores
        raise AnnotationError(f"{path}: {field.name} has lists of different lengths; write it anew")
    return FoundCells(
        np.array(columns["x_px"], np.float64),
        np.array(columns["y_px"], np.float64),
        np.array(columns["label"], np.uint8),
        np.array(columns["score"], np.float32),
    )


def _text_detection(path: Path, fields: Sequence[Field]) -> Detection:
    found = read_points(path, FOUND_COLUMNS)
    for name in found.keys() - {field.name for field in fields}:
        raise AnnotationError(f"{path}: line {name!r} fits no field; give the ground truth's file")
    cells = []
    for field in fields:
        # a field in which nothing was found has no line
        xy_px = found.get(field.name, np.empty((0, 2)))
        label = np.full(len(xy_px), UNCLASSED, np.uint8)
        cells.append(FoundCells(xy_px[:, 0], xy_px[:, 1], label))
    return Detection(path.stem, None, None, classed=False, candidates=tuple(cells))
