"""The known cells of a made slide, beside it: GeoParquet, GeoJSON for QuPath, and a JSON record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.points import LABEL_NAMES, POSITIVE, CellPoints
from pipeline.io.cells import write_cells
from pipeline.io.cells_text import CLASS_COLOURS, rounded
from pipeline.io.files import atomic_path, write_json_atomic

BLOCK_CELLS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class SlideTruth:
    """Cells of a made slide in level-0 pixels (score 1) and the files that hold them."""

    cells: CellPoints
    parquet: Path
    geojson: Path
    record: Path

    @property
    def positive(self) -> int:
        """Number of positive cells."""
        return int((self.cells.label == POSITIVE).sum())

    @property
    def negative(self) -> int:
        """Number of negative cells."""
        return len(self.cells) - self.positive

    @property
    def index_pct(self) -> float | None:
        """Labelling index of the truth in percent; None without cells."""
        return 100.0 * self.positive / len(self.cells) if len(self.cells) else None


def true_points(
    x_l0: NDArray[np.float64], y_l0: NDArray[np.float64], label: NDArray[np.uint8]
) -> CellPoints:
    """Cells whose score is 1: they are known."""
    return CellPoints(x_l0, y_l0, np.ones(x_l0.size, np.float32), label)


def write_truth(slide_path: Path, cells: CellPoints, facts: Mapping[str, Any]) -> SlideTruth:
    """Write NAME.truth.parquet, NAME.truth.geojson and NAME.truth.json beside a slide.

    Parameters
    ----------
    slide_path : Path
        The slide; NAME is its name without suffix.
    cells : CellPoints
        Level-0 pixels, pixel centres at +0.5.
    facts : mapping
        How the slide was made; the counts and the index are added.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    name = slide_path.with_suffix("").name
    paths = [slide_path.parent / f"{name}.truth.{end}" for end in ("parquet", "geojson", "json")]
    truth = SlideTruth(cells, *paths)
    write_cells(truth.parquet, cells, {"content": "known cells of a made slide"})
    _write_geojson(truth.geojson, cells)
    counts = {"positive": truth.positive, "negative": truth.negative, "total": len(cells)}
    write_json_atomic(
        truth.record,
        {"schema": 1, **facts, "counts": counts, "index_pct": truth.index_pct},
    )
    return truth


def _write_geojson(path: Path, cells: CellPoints) -> None:
    """One FeatureCollection of point detections with QuPath's classes, 0.1 px, streamed."""
    tails = []
    for name in LABEL_NAMES:
        quoted = name.capitalize()
        properties = {
            "objectType": "detection",
            "classification": {"name": quoted, "color": CLASS_COLOURS[quoted]},
        }
        tails.append(f']}},"properties":{json.dumps(properties, separators=(",", ":"))}}}')
    head = '{"type":"Feature","geometry":{"type":"Point","coordinates":['
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as out:
        out.write('{"type":"FeatureCollection","features":[')
        for start in range(0, len(cells), BLOCK_CELLS):
            rows = slice(start, start + BLOCK_CELLS)
            columns = zip(
                rounded(cells.x_l0[rows]).tolist(),
                rounded(cells.y_l0[rows]).tolist(),
                cells.label[rows].tolist(),
                strict=True,
            )
            out.write("," if start else "")
            out.write(",\n".join(f"{head}{x},{y}{tails[label]}" for x, y, label in columns))
        out.write("]}\n")
