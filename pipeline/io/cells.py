"""Cells in files: GeoParquet points for machines, GeoJSON detections for QuPath."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.points import LABEL_NAMES, POSITIVE, CellPoints
from pipeline.errors import OutputError
from pipeline.io.files import atomic_path, gzip_stream, make_folder, short_name

ROW_GROUP_CELLS = 250_000
"""Cells built in memory at once; peak memory does not grow with the slide."""

GEOJSON_MAX_CELLS = 250_000
"""Per file: QuPath reads a GeoJSON file as one tree, about 3 kB of heap a cell."""

CLASS_COLOURS = {"Positive": (200, 50, 50), "Negative": (90, 90, 180)}
"""QuPath's own class names and colours; its Ki-67 measurements know only these names."""

CellShape = Literal["point", "circle"]

_SCHEMA = pa.schema(
    [
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("x_l0", pa.float64(), nullable=False),
        pa.field("y_l0", pa.float64(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)
_WKB_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])
_GEOJSON_BLOCK = 50_000
_GEOJSON_GZIP_LEVEL = 1
"""Level 6 takes three times as long for a fifth less."""


def write_cells(path: Path, points: CellPoints, metadata: Mapping[str, str]) -> None:
    """Write cells as GeoParquet 1.1 points (crs null: level-0 pixels are no place on Earth).

    Columns ``geometry`` (WKB), ``x_l0``, ``y_l0``, ``score``, ``label`` ("positive" or "negative"),
    rows in the order given. The same points and metadata give the same bytes.

    Raises
    ------
    ValueError
        A coordinate or score is not finite, or metadata names the reserved key ``geo``.
    OutputError
        The folder cannot be written.
    """
    check_finite(points)
    if "geo" in metadata:
        raise ValueError("metadata key 'geo' is reserved for GeoParquet")
    geo = json.dumps(_geo_metadata(points), separators=(",", ":"))
    schema = _SCHEMA.with_metadata({"geo": geo, **dict(sorted(metadata.items()))})
    with (
        atomic_path(path) as partial,
        pq.ParquetWriter(
            partial, schema, compression="zstd", compression_level=3, use_dictionary=["label"]
        ) as writer,
    ):
        for rows in _slices(len(points), ROW_GROUP_CELLS):
            writer.write_table(_table(points, rows, schema))


def read_cells(path: Path) -> CellPoints:
    """Read what :func:`write_cells` wrote.

    Raises
    ------
    OutputError
        The file is missing, damaged or has other columns.
    """
    try:
        table = pq.read_table(path, columns=["x_l0", "y_l0", "score", "label"])
    except (OSError, pa.ArrowException) as error:
        raise OutputError(
            f"{short_name(path)}: cannot be read as cells ({type(error).__name__}); "
            "run `ki67 verify` and then the same `ki67 run` again"
        ) from error
    if table.column_names != ["x_l0", "y_l0", "score", "label"]:
        raise OutputError(f"{short_name(path)}: not a cell table, columns {table.column_names}")
    positive = pc.equal(table["label"], LABEL_NAMES[POSITIVE])
    return CellPoints(
        table["x_l0"].to_numpy().astype(np.float64),
        table["y_l0"].to_numpy().astype(np.float64),
        table["score"].to_numpy().astype(np.float32),
        positive.to_numpy().astype(np.uint8),
    )


def read_cells_metadata(path: Path) -> dict[str, str]:
    """Return the metadata given to :func:`write_cells`."""
    found = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in found.items() if key != b"geo"}


def write_cells_geojson(
    folder: Path,
    points: CellPoints,
    *,
    offset_x_l0: float,
    offset_y_l0: float,
    radius_px: float,
    shape: CellShape | None = None,
) -> list[Path]:
    """Write QuPath detections, gzipped: ``cells.geojson.gz``, or ``cells.000.geojson.gz`` and on.

    Coordinates are pixels as QuPath opens the slide (its bounds subtracted), 0.1 px. Cells are
    points, above 250,000 circles, which QuPath draws with a third of the memory. Files of an
    earlier run that this one does not need are removed.

    Parameters
    ----------
    folder
        The slide's folder.
    points
        Cells in level-0 pixels.
    offset_x_l0, offset_y_l0
        Corner of the slide's bounds, subtracted.
    radius_px
        Of the circles, level-0 pixels.
    shape
        ``point`` or ``circle``; None chooses by number.

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
    slices = list(_slices(len(points), GEOJSON_MAX_CELLS)) or [slice(0, 0)]
    names = [f"cells.{number:03d}.geojson.gz" for number in range(len(slices))]
    paths = [folder / name for name in (names if len(slices) > 1 else ["cells.geojson.gz"])]
    for path, rows in zip(paths, slices, strict=True):
        x_px = rounded(points.x_l0[rows] - offset_x_l0)
        y_px = rounded(points.y_l0[rows] - offset_y_l0)
        with atomic_path(path) as partial, gzip_stream(partial, level=_GEOJSON_GZIP_LEVEL) as out:
            out.write(b'{"type":"FeatureCollection","features":[')
            for text in _features(x_px, y_px, points.label[rows], chosen, radius_px):
                out.write(text)
            out.write(b"]}\n")
    for stale in set(folder.glob("cells*.geojson.gz")) - set(paths):
        stale.unlink()
    return paths


def check_finite(points: CellPoints) -> None:
    """Refuse cells that are nowhere.

    Raises
    ------
    ValueError
        Names the first row with NaN or infinity.
    """
    for name in ("x_l0", "y_l0", "score"):
        finite = np.isfinite(getattr(points, name))
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(f"cell {row}: {name} is {getattr(points, name)[row]}, not finite")


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tenths of a pixel; never a negative zero."""
    tenths: NDArray[np.float64] = np.round(values, 1) + 0.0
    return tenths


def _slices(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _geo_metadata(points: CellPoints) -> dict[str, Any]:
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point"], "crs": None}
    if len(points):
        x_l0, y_l0 = points.x_l0, points.y_l0
        column["bbox"] = [float(v) for v in (x_l0.min(), y_l0.min(), x_l0.max(), y_l0.max())]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _table(points: CellPoints, rows: slice, schema: pa.Schema) -> pa.Table:
    part = points.take(np.arange(rows.start, rows.stop))
    words = pa.DictionaryArray.from_arrays(pa.array(part.label), pa.array(LABEL_NAMES))
    columns = [
        _wkb_points(part),
        pa.array(part.x_l0),
        pa.array(part.y_l0),
        pa.array(part.score),
        words.cast(pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _wkb_points(points: CellPoints) -> pa.Array:
    packed = np.empty(len(points), _WKB_POINT)
    packed["order"], packed["kind"] = 1, 1  # little endian, Point
    packed["x"], packed["y"] = points.x_l0, points.y_l0
    offsets = np.arange(len(points) + 1, dtype=np.int32) * _WKB_POINT.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(packed)]
    return pa.Array.from_buffers(pa.binary(), len(points), buffers)


def _features(
    x_px: NDArray[np.float64],
    y_px: NDArray[np.float64],
    label: NDArray[np.uint8],
    shape: CellShape,
    radius_px: float,
) -> Iterator[bytes]:
    """Blocks of comma-separated features; templates are ten times as fast as a JSON library."""
    templates = [_template(name.capitalize(), shape) for name in LABEL_NAMES]
    columns = [x_px, y_px]
    if shape == "circle":
        edges = (x_px - radius_px, y_px - radius_px, x_px + radius_px, y_px + radius_px)
        columns = [rounded(edge) for edge in edges]
    for rows in _slices(len(x_px), _GEOJSON_BLOCK):
        words = zip(*(map(repr, column[rows].tolist()) for column in columns), strict=True)
        texts = [
            templates[kind].format(*row)
            for kind, row in zip(label[rows].tolist(), words, strict=True)
        ]
        yield (("," if rows.start else "") + ",".join(texts)).encode()


def _template(class_name: str, shape: CellShape) -> str:
    if shape == "point":
        geometry = '{{"type":"Point","coordinates":[{0},{1}]}}'
    else:
        ring = "[{0},{1}],[{2},{1}],[{2},{3}],[{0},{3}],[{0},{1}]"
        geometry = '{{"type":"Polygon","coordinates":[[' + ring + ']],"isEllipse":true}}'
    colour = ",".join(map(str, CLASS_COLOURS[class_name]))
    return (
        '{{"type":"Feature","geometry":' + geometry + ',"properties":{{"objectType":"detection",'
        '"classification":{{"name":"' + class_name + '","color":[' + colour + "]}}}}}}"
    )
