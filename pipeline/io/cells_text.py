"""Cells as text: GeoJSON detections and tables for QuPath, tables in level-0 pixels for others.

Rows are built column by column with Arrow: a million cells in a few seconds, a block in memory.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.points import LABEL_NAMES, CellPoints
from pipeline.io.arrow import chosen, numbers, text
from pipeline.io.cells import check_finite
from pipeline.io.files import atomic_path, gzip_stream, make_folder

GEOJSON_MAX_CELLS = 250_000
"""Per file: QuPath reads a GeoJSON file as one tree, about 3 kB of heap a cell."""

CLASS_COLOURS = {"Positive": (200, 50, 50), "Negative": (90, 90, 180)}
"""QuPath's own class names and colours; its Ki-67 measurements know only these names."""

SCORE_MEASUREMENT = "AI score"

CellShape = Literal["point", "circle"]

_BLOCK = 50_000
_GEOJSON_GZIP_LEVEL = 1
"""Level 6 takes three times as long for a fifth less."""

_TABLE_GZIP_LEVEL = 4


def write_cells_geojson(
    folder: Path,
    points: CellPoints,
    *,
    offset_x_l0: float,
    offset_y_l0: float,
    radius_px: float,
    shape: CellShape | None = None,
    stem: str = "cells",
    scores: bool = False,
) -> list[Path]:
    """Write QuPath detections, gzipped: ``cells.geojson.gz``, or ``cells.000.geojson.gz`` and on.

    Coordinates are pixels as QuPath opens the slide (its bounds subtracted), 0.1 px. Cells are
    points, above 250,000 circles, which QuPath draws with a third of the memory. Files of an
    earlier run that this one does not need are removed.

    Parameters
    ----------
    folder
        Where the files go.
    points
        Cells in level-0 pixels.
    offset_x_l0, offset_y_l0
        Corner of the slide's bounds, subtracted.
    radius_px
        Of the circles, level-0 pixels.
    shape
        ``point`` or ``circle``; None chooses by number.
    stem
        Begin of the files' names.
    scores
        Whether each cell carries its score as a measurement: half as much again to read.

    Raises
    ------
    ValueError
        A coordinate, offset or radius is not finite, or the radius is not positive.
    OutputError
        The folder cannot be written.
    """
    check_finite(points)
    if not np.isfinite([offset_x_l0, offset_y_l0, radius_px]).all() or radius_px <= 0:
        raise ValueError(f"offset and radius must be finite: {offset_x_l0=} {radius_px=}")
    make_folder(folder)
    chosen = shape or ("point" if len(points) <= GEOJSON_MAX_CELLS else "circle")
    slices = list(_slices(0, len(points), GEOJSON_MAX_CELLS)) or [slice(0, 0)]
    names = [f"{stem}.{number:03d}.geojson.gz" for number in range(len(slices))]
    paths = [folder / name for name in (names if len(slices) > 1 else [f"{stem}.geojson.gz"])]
    offset = offset_x_l0, offset_y_l0
    for path, rows in zip(paths, slices, strict=True):
        with atomic_path(path) as partial, gzip_stream(partial, level=_GEOJSON_GZIP_LEVEL) as out:
            out.write(b'{"type":"FeatureCollection","features":[')
            for block in _slices(rows.start, rows.stop, _BLOCK):
                if block.start > rows.start:
                    out.write(b",")
                out.write(_features(points, block, offset, chosen, radius_px, scores=scores))
            out.write(b"]}\n")
    stale = {path for path in folder.glob(f"{stem}.*") if _is_part(path.name, stem)}
    for path in stale - set(paths):
        path.unlink()
    return paths


def write_cells_csv(
    path: Path, points: CellPoints, *, offset_x_l0: float, offset_y_l0: float
) -> None:
    """Write ``x,y,positive,score`` in pixels as QuPath opens the slide, gzipped.

    Raises
    ------
    ValueError
        A coordinate or score is not finite.
    OutputError
        The folder cannot be written.
    """
    check_finite(points)
    with atomic_path(path) as partial, gzip_stream(partial, level=_TABLE_GZIP_LEVEL) as stream:
        stream.write(b"x,y,positive,score\n")
        for rows in _slices(0, len(points), _BLOCK):
            columns = [
                _texts(rounded(points.x_l0[rows] - offset_x_l0)),
                _texts(rounded(points.y_l0[rows] - offset_y_l0)),
                _texts(points.label[rows]),
                _texts(_rounded_scores(points, rows)),
            ]
            stream.write(_joined(_side_by_side(columns, ","), "\n") + b"\n")


def write_cells_table(path: Path, points: CellPoints, *, mpp: tuple[float, float]) -> None:
    """Write ``x_l0,y_l0,x_um,y_um,label,score`` with the label as a word, gzipped.

    Micrometres are counted from the slide's corner, not from that of its bounds.

    Raises
    ------
    ValueError
        A coordinate or score is not finite.
    OutputError
        The folder cannot be written.
    """
    check_finite(points)
    with atomic_path(path) as partial, gzip_stream(partial, level=_TABLE_GZIP_LEVEL) as stream:
        stream.write(b"x_l0,y_l0,x_um,y_um,label,score\n")
        for rows in _slices(0, len(points), _BLOCK):
            x_l0, y_l0 = points.x_l0[rows], points.y_l0[rows]
            columns = [
                *(_texts(np.round(axis, 2) + 0.0) for axis in (x_l0, y_l0)),
                _texts(np.round(x_l0 * mpp[0], 3) + 0.0),
                _texts(np.round(y_l0 * mpp[1], 3) + 0.0),
                chosen(points.label[rows], LABEL_NAMES),
                _texts(_rounded_scores(points, rows)),
            ]
            stream.write(_joined(_side_by_side(columns, ","), "\n") + b"\n")


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tenths of a pixel; never a negative zero."""
    tenths: NDArray[np.float64] = np.round(values, 1) + 0.0
    return tenths


def _slices(start: int, stop: int, size: int) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def _is_part(name: str, stem: str) -> bool:
    number = name.removeprefix(f"{stem}.").removesuffix("geojson.gz").removesuffix(".")
    return name.endswith(".geojson.gz") and (
        number == "" or (number.isdigit() and len(number) == 3)
    )


def _rounded_scores(points: CellPoints, rows: slice) -> NDArray[np.float64]:
    thousandths = np.round(points.score[rows].astype(np.float64), 3) + 0.0
    return np.asarray(thousandths, np.float64)


def _texts(values: NDArray[np.float64] | NDArray[np.uint8]) -> pa.Array:
    """Shortest decimal form of each number."""
    return numbers(values).cast(pa.string())


def _side_by_side(columns: Sequence[pa.Array | str], separator: str) -> pa.Array:
    """Texts of every row, one after another; a text alone is that of all rows."""
    parts = [text(part) if isinstance(part, str) else part for part in (*columns, separator)]
    return pc.binary_join_element_wise(*parts)


def _joined(texts: pa.Array, separator: str) -> bytes:
    whole = pa.ListArray.from_arrays(numbers(np.array([0, len(texts)], np.int32)), texts)
    joined: bytes = pc.binary_join(whole, text(separator))[0].as_buffer().to_pybytes()
    return joined


def _features(
    points: CellPoints,
    rows: slice,
    offset: tuple[float, float],
    shape: CellShape,
    radius_px: float,
    *,
    scores: bool,
) -> bytes:
    """Comma-separated features of the rows."""
    x_px = rounded(points.x_l0[rows] - offset[0])
    y_px = rounded(points.y_l0[rows] - offset[1])
    endings = tuple(_class_of(name.capitalize()) for name in LABEL_NAMES)
    ending = [chosen(points.label[rows], endings)]
    if scores:
        measured = f',"measurements":{{"{SCORE_MEASUREMENT}":'
        ending += [measured, _texts(_rounded_scores(points, rows)), "}}}"]
    else:
        ending += ["}}"]
    if shape == "point":
        start = '{"type":"Feature","geometry":{"type":"Point","coordinates":['
        parts = [start, _texts(x_px), ",", _texts(y_px), "]}", *ending]
    else:
        x0, x1 = (_texts(rounded(x_px + step)) for step in (-radius_px, radius_px))
        y0, y1 = (_texts(rounded(y_px + step)) for step in (-radius_px, radius_px))
        ring = [x0, ",", y0, "],[", x1, ",", y0, "],[", x1, ",", y1, "],["]
        ring += [x0, ",", y1, "],[", x0, ",", y0]
        start = '{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[['
        parts = [start, *ring, ']]],"isEllipse":true}', *ending]
    return _joined(_side_by_side(parts, ""), ",")


def _class_of(class_name: str) -> str:
    """Properties of a detection as far as they are the same for all of a class."""
    kind = {"objectType": "detection"} | {
        "classification": {"name": class_name, "color": list(CLASS_COLOURS[class_name])}
    }
    return ',"properties":' + json.dumps(kind, separators=(",", ":")).removesuffix("}")
