"""A QuPath pack of a run: a project, the cells as small tables, and the script that imports them.

QuPath reads GeoJSON as one tree (about 3 kB of memory a cell); the script reads the tables instead,
a million cells in seconds.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline.core.points import CellPoints
from pipeline.io.cells import read_cells
from pipeline.io.cells_text import CellShape, write_cells_csv, write_cells_geojson
from pipeline.io.files import (
    make_folder,
    output_errors,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from pipeline.io.ledger import LEDGER_NAME
from pipeline.io.ledger_reading import read_ledger
from pipeline.io.qupath_maps import TILE_UM, QupathFrame, TileKind, write_density_png, write_tiles
from pipeline.io.qupath_project import write_project
from pipeline.io.score import ScoreRecord

QUPATH_NAME = "qupath"
SCRIPT_NAMES = ("import_ki67.groovy", "show_density.groovy")
RADIUS_UM = 3.0
"""Of the circles the script draws: about a nucleus."""

_RADIUS_PX_UNKNOWN = 12.0
_FIND_SLIDE = "find_slide.groovy"
_FIND_SLIDE_LINE = "// the lines of find_slide.groovy stand here\n"


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What a pack holds beside tables, areas, density pictures, scripts and project.

    Attributes
    ----------
    geojson
        Cells as GeoJSON too, for drag and drop.
    shape
        Of the cells in it; None: points, circles above 250,000.
    scores
        Each cell in it carries its score.
    tiles
        Squares with the local index, as detection tiles or as annotations; None for none.
    tile_um
        Their side.
    again
        Write what is there and not older than the cells again too.
    """

    geojson: bool = False
    shape: CellShape | None = None
    scores: bool = False
    tiles: TileKind | None = None
    tile_um: float = TILE_UM
    again: bool = False


def write_qupath(
    out: Path,
    records: Sequence[ScoreRecord],
    slide_paths: Mapping[str, Path] | None = None,
    *,
    folder: Path | None = None,
    options: PackOptions | None = None,
    chosen: Collection[str] | None = None,
) -> Path:
    """Write ``out/qupath`` from the result files of the slides; return the folder.

    Tables of slides that did not change are kept. A project that is already there keeps its
    images and their numbers, so that work saved in QuPath is not lost.

    Parameters
    ----------
    out
        Output folder of a run.
    records
        Scores of the slides; those without cells are left out.
    slide_paths
        Where the slides lie, by slide id, for the project; None asks the ledger.
    folder
        Where the pack goes; None: ``out/qupath``.
    options
        What more it holds.
    chosen
        Ids of the slides that the options are for; None: all.

    Raises
    ------
    OutputError
        The folder cannot be written, or cells or the project there are damaged.
    """
    folder = make_folder(folder or out / QUPATH_NAME)
    entries = []
    kept = []
    for record in records:
        if has_cells(out, record):
            meant = chosen is None or record.slide.id in chosen
            asked = options if options is not None and meant else PackOptions()
            entries.append(_write_slide(out, record, folder, asked))
            kept.append(record)
        else:
            _remove_slide(folder, record.slide.id)
    write_json_atomic(folder / "manifest.json", {"schema": 1, "slides": entries})
    for name in SCRIPT_NAMES:
        script = _template(name).replace(_FIND_SLIDE_LINE, _template(_FIND_SLIDE))
        write_text_atomic(folder / name, script)
    write_project(folder, kept, _ledger_paths(out) if slide_paths is None else slide_paths)
    return folder


def qupath_frame(record: ScoreRecord) -> QupathFrame:
    """Give the rectangle of level 0 that QuPath opens: it crops to the bounds where there are."""
    slide = record.slide
    bounds = slide.bounds or (0, 0, slide.width or 0, slide.height or 0)
    return QupathFrame(*bounds, slide.mpp)


def has_cells(out: Path, record: ScoreRecord) -> bool:
    """Tell whether a slide was scored and its cells are there to be exported."""
    done = record.status not in {"failed", "deferred", "skipped"}
    known = record.counts.total is not None and qupath_frame(record).width > 0
    return done and known and (out / "slides" / record.slide.id / "cells.parquet").is_file()


def radius_px(record: ScoreRecord) -> float:
    """Radius of the circles that are drawn, level-0 pixels."""
    mpp = record.slide.mpp
    return round(RADIUS_UM / mpp[0], 2) if mpp else _RADIUS_PX_UNKNOWN


def _write_slide(
    out: Path, record: ScoreRecord, folder: Path, options: PackOptions
) -> dict[str, Any]:
    """Write the files of one slide; return its line of the manifest."""
    source, frame = out / "slides" / record.slide.id, qupath_frame(record)
    stem = record.slide.id
    with output_errors(folder):
        if options.again or options.geojson or options.tiles or _older(folder, stem, source):
            points = read_cells(source / "cells.parquet")
            _remove_slide(folder, stem)  # with what an earlier pack held and this one does not
            _write_cells(folder, record, points, frame, options)
            if options.tiles is not None:
                write_tiles(
                    folder / f"{stem}.tiles.geojson",
                    points,
                    frame,
                    slide_id=stem,
                    kind=options.tiles,
                    tile_um=options.tile_um,
                )
        areas = source / "areas.geojson"
        if areas.exists():
            write_bytes_atomic(folder / f"{stem}.areas.geojson", areas.read_bytes())
    return {
        "image_name": record.slide.name,
        "slide_id": record.slide.id,
        "width": frame.width,
        "height": frame.height,
        "bounds": [frame.x_l0, frame.y_l0],
        "radius_px": radius_px(record),
        "cells": record.counts.total,
        "positive": record.counts.positive,
        "negative": record.counts.negative,
        "status": record.status,
        "index_pct": record.ki67.index_pct,
    }


def _write_cells(
    folder: Path,
    record: ScoreRecord,
    points: CellPoints,
    frame: QupathFrame,
    options: PackOptions,
) -> None:
    stem, offset_x, offset_y = record.slide.id, frame.x_l0, frame.y_l0
    write_cells_csv(
        folder / f"{stem}.cells.csv.gz", points, offset_x_l0=offset_x, offset_y_l0=offset_y
    )
    write_density_png(folder / f"{stem}.density.png", points, frame)
    if options.geojson:
        write_cells_geojson(
            folder,
            points,
            offset_x_l0=offset_x,
            offset_y_l0=offset_y,
            radius_px=radius_px(record),
            shape=options.shape,
            stem=f"{stem}.cells",
            scores=options.scores,
        )


def _older(folder: Path, stem: str, source: Path) -> bool:
    """Whether the table or the picture is missing or not newer than the cells."""
    cells = (source / "cells.parquet").stat().st_mtime_ns
    made = [folder / f"{stem}{ending}" for ending in (".cells.csv.gz", ".density.png")]
    return any(not path.exists() or path.stat().st_mtime_ns <= cells for path in made)


def _remove_slide(folder: Path, slide_id: str) -> None:
    for ending in (".cells.csv.gz", ".areas.geojson", ".density.png", ".tiles.geojson"):
        (folder / f"{slide_id}{ending}").unlink(missing_ok=True)
    for path in folder.glob(f"{slide_id}.cells.*geojson.gz"):
        path.unlink()


def _template(name: str) -> str:
    return files("pipeline.io").joinpath("templates", name).read_text(encoding="utf-8")


def _ledger_paths(out: Path) -> dict[str, Path]:
    return read_ledger(out / LEDGER_NAME).slide_paths()
