"""Cells in files: GeoParquet points, for machines and for later scoring."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.points import LABEL_NAMES, POSITIVE, CellPoints
from pipeline.errors import OutputError
from pipeline.io.arrow import chosen, numbers, text, to_numpy
from pipeline.io.files import atomic_path, short_name

ROW_GROUP_CELLS = 250_000
"""Cells built in memory at once; peak memory does not grow with the slide."""

_SCHEMA = pa.schema(
    [
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("x_l0", pa.float64(), nullable=False),
        pa.field("y_l0", pa.float64(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)
_EXCLUDED = pa.field("excluded", pa.string())
_WKB_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])


@dataclass(frozen=True, slots=True, eq=False)
class Exclusions:
    """Why points count nowhere, whatever the threshold."""

    code: NDArray[np.uint8]
    """Row of ``words`` of each point."""
    words: tuple[str | None, ...]


def write_cells(
    path: Path,
    points: CellPoints,
    metadata: Mapping[str, str],
    *,
    excluded: Exclusions | None = None,
) -> None:
    """Write cells as GeoParquet 1.1 points (crs null: level-0 pixels are no place on Earth).

    Columns ``geometry`` (WKB), ``x_l0``, ``y_l0``, ``score``, ``label`` ("positive" or "negative"),
    rows in the order given. The same points and metadata give the same bytes.

    Parameters
    ----------
    excluded
        Why a point counts nowhere, for a further column ``excluded``; without it there is none.

    Raises
    ------
    ValueError
        A coordinate or score is not finite, metadata names the reserved key ``geo``, or
        ``excluded`` is of another length.
    OutputError
        The folder cannot be written.
    """
    check_finite(points)
    if "geo" in metadata:
        raise ValueError("metadata key 'geo' is reserved for GeoParquet")
    if excluded is not None and len(excluded.code) != len(points):
        raise ValueError(f"{len(excluded.code)} exclusions for {len(points)} points")
    geo = json.dumps(_geo_metadata(points), separators=(",", ":"))
    schema = _SCHEMA if excluded is None else _SCHEMA.append(_EXCLUDED)
    schema = schema.with_metadata({"geo": geo, **dict(sorted(metadata.items()))})
    with (
        atomic_path(path) as partial,
        pq.ParquetWriter(
            partial, schema, compression="zstd", compression_level=3, use_dictionary=["label"]
        ) as writer,
    ):
        for rows in _slices(len(points), ROW_GROUP_CELLS):
            writer.write_table(_table(points, rows, schema, excluded))


def read_cells(path: Path) -> CellPoints:
    """Read what :func:`write_cells` wrote.

    Raises
    ------
    OutputError
        The file is missing, damaged or has other columns.
    """
    try:
        with pq.ParquetFile(path) as stored:
            table = stored.read(columns=["x_l0", "y_l0", "score", "label"])
    except (OSError, pa.ArrowException) as error:
        raise OutputError(
            f"{short_name(path)}: cannot be read as cells ({type(error).__name__}); "
            "run `ki67 verify` and then the same `ki67 run` again"
        ) from error
    if table.column_names != ["x_l0", "y_l0", "score", "label"]:
        raise OutputError(f"{short_name(path)}: not a cell table, columns {table.column_names}")
    if any(column.null_count for column in table.columns):
        raise OutputError(f"{short_name(path)}: not a cell table, cells lack a value")
    positive = pc.equal(table["label"], text(LABEL_NAMES[POSITIVE])).cast(pa.uint8())
    return CellPoints(
        to_numpy(table["x_l0"]).astype(np.float64),
        to_numpy(table["y_l0"]).astype(np.float64),
        to_numpy(table["score"]).astype(np.float32),
        to_numpy(positive),
    )


def read_cells_metadata(path: Path) -> dict[str, str]:
    """Return the metadata given to :func:`write_cells`."""
    found = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in found.items() if key != b"geo"}


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


def _slices(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _geo_metadata(points: CellPoints) -> dict[str, Any]:
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point"], "crs": None}
    if len(points):
        x_l0, y_l0 = points.x_l0, points.y_l0
        column["bbox"] = [float(v) for v in (x_l0.min(), y_l0.min(), x_l0.max(), y_l0.max())]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _table(
    points: CellPoints, rows: slice, schema: pa.Schema, excluded: Exclusions | None
) -> pa.Table:
    part = points.take(np.arange(rows.start, rows.stop))
    columns = [
        _wkb_points(part),
        numbers(part.x_l0),
        numbers(part.y_l0),
        numbers(part.score),
        chosen(part.label, LABEL_NAMES),
    ]
    if excluded is not None:
        columns.append(chosen(excluded.code[rows], excluded.words))
    return pa.Table.from_arrays(columns, schema=schema)


def _wkb_points(points: CellPoints) -> pa.Array:
    packed = np.empty(len(points), _WKB_POINT)
    packed["order"], packed["kind"] = 1, 1  # little endian, Point
    packed["x"], packed["y"] = points.x_l0, points.y_l0
    offsets = np.arange(len(points) + 1, dtype=np.int32) * _WKB_POINT.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(packed)]
    return pa.Array.from_buffers(pa.binary(), len(points), buffers)
