"""A QuPath pack of a run: a project, the cells as small tables, and the script that imports them.

QuPath reads GeoJSON as one tree (about 3 kB of memory a cell); the script reads the tables instead,
a million cells in seconds.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import OutputError
from pipeline.io.cells import read_cells
from pipeline.io.cells_text import CLASS_COLOURS, write_cells_csv
from pipeline.io.files import (
    make_folder,
    output_errors,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from pipeline.io.ledger import LEDGER_NAME, Ledger
from pipeline.io.score import ScoreRecord

QUPATH_NAME = "qupath"
SCRIPT_NAME = "import_ki67.groovy"
RADIUS_UM = 3.0
"""Of the circles the script draws: about a nucleus."""

_QPPROJ_VERSION = "0.6.0"
_OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
_NAMESPACE = uuid.UUID("0d9f4c52-93a4-5f7e-8b6e-1f6f0a5b7c21")
_RADIUS_PX_UNKNOWN = 12.0


def write_qupath(
    out: Path, records: Sequence[ScoreRecord], slide_paths: Mapping[str, Path] | None = None
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

    Raises
    ------
    OutputError
        The folder cannot be written, or cells or the project there are damaged.
    """
    folder = make_folder(out / QUPATH_NAME)
    entries = []
    kept = []
    for record in records:
        if _has_cells(out, record):
            entries.append(write_qupath_slide(out, record))
            kept.append(record)
        else:
            _remove_slide(folder, record.slide.id)
    write_json_atomic(folder / "manifest.json", {"schema": 1, "slides": entries})
    script = files("pipeline.io").joinpath("templates", SCRIPT_NAME).read_text(encoding="utf-8")
    write_text_atomic(folder / SCRIPT_NAME, script)
    if not (folder / "classifiers" / "classes.json").exists():
        write_json_atomic(folder / "classifiers" / "classes.json", _classes())
    _write_project(folder, kept, _ledger_paths(out) if slide_paths is None else slide_paths)
    return folder


def write_qupath_slide(out: Path, record: ScoreRecord) -> dict[str, Any]:
    """Write the table of cells and the areas of one slide; return its line of the manifest.

    Raises
    ------
    OutputError
        The folder cannot be written or the slide's cells are damaged.
    """
    folder, slide = out / QUPATH_NAME, out / "slides" / record.slide.id
    x_l0, y_l0, width, height = _bounds(record)
    table = folder / f"{record.slide.id}.cells.csv.gz"
    source = slide / "cells.parquet"
    with output_errors(folder):
        if not table.exists() or table.stat().st_mtime_ns <= source.stat().st_mtime_ns:
            write_cells_csv(table, read_cells(source), offset_x_l0=x_l0, offset_y_l0=y_l0)
        areas = slide / "areas.geojson"
        if areas.exists():
            write_bytes_atomic(folder / f"{record.slide.id}.areas.geojson", areas.read_bytes())
    mpp = record.slide.mpp
    return {
        "image_name": record.slide.name,
        "slide_id": record.slide.id,
        "width": width,
        "height": height,
        "bounds": [x_l0, y_l0],
        "radius_px": round(RADIUS_UM / mpp[0], 2) if mpp else _RADIUS_PX_UNKNOWN,
        "cells": record.counts.total,
        "positive": record.counts.positive,
        "negative": record.counts.negative,
        "status": record.status,
        "index_pct": record.ki67.index_pct,
    }


def _has_cells(out: Path, record: ScoreRecord) -> bool:
    done = record.status not in {"failed", "deferred", "skipped"}
    known = record.counts.total is not None and _bounds(record)[2] > 0
    return done and known and (out / "slides" / record.slide.id / "cells.parquet").is_file()


def _remove_slide(folder: Path, slide_id: str) -> None:
    for ending in (".cells.csv.gz", ".areas.geojson"):
        (folder / f"{slide_id}{ending}").unlink(missing_ok=True)


def _bounds(record: ScoreRecord) -> tuple[int, int, int, int]:
    """The rectangle that QuPath opens: it crops to the bounds where the slide has them."""
    if record.slide.bounds is not None:
        return record.slide.bounds
    return 0, 0, record.slide.width or 0, record.slide.height or 0


def _ledger_paths(out: Path) -> dict[str, Path]:
    if not (out / LEDGER_NAME).exists():
        return {}
    with Ledger(out / LEDGER_NAME) as ledger:
        return ledger.slide_paths()


def _classes() -> dict[str, Any]:
    return {
        "pathClasses": [
            {"name": name, "color": _packed(colour)} for name, colour in CLASS_COLOURS.items()
        ]
    }


def _packed(colour: tuple[int, int, int]) -> int:
    """Opaque ARGB as Java's signed 32-bit integer."""
    red, green, blue = colour
    return ((255 << 24) | (red << 16) | (green << 8) | blue) - (1 << 32)


def _write_project(
    folder: Path, records: Sequence[ScoreRecord], slide_paths: Mapping[str, Path]
) -> None:
    path = folder / "project.qpproj"
    project, known = _read_project(path)
    before = len(project["images"])
    names = Counter(record.slide.name for record in records)
    for record in records:
        place = slide_paths.get(record.slide.id)
        if place is None or _file_uri(place) in known:
            continue
        project["lastID"] += 1
        unique = names[record.slide.name] == 1
        name = record.slide.name if unique else record.slide.id
        project["images"].append(_image(record, project["lastID"], _file_uri(place), name))
        project["modifyTimestamp"] = max(project["modifyTimestamp"], _milliseconds(record))
    if path.exists() and len(project["images"]) == before:
        return  # nothing new: QuPath may have it open
    project["createTimestamp"] = project["createTimestamp"] or project["modifyTimestamp"]
    project["uri"] = _file_uri(path)
    write_json_atomic(path, project)


def _read_project(path: Path) -> tuple[dict[str, Any], set[str | None]]:
    """Read a project and the URIs of its images; where there is none, begin one."""
    if not path.exists():
        empty = {
            "version": _QPPROJ_VERSION,
            "createTimestamp": 0,
            "modifyTimestamp": 0,
            "uri": "",
            "lastID": 0,
            "images": [],
        }
        return empty, set()
    try:
        project: dict[str, Any] = json.loads(path.read_bytes())
        known = {image["serverBuilder"].get("uri") for image in project["images"]}
        highest = max((int(image["entryID"]) for image in project["images"]), default=0)
        project["lastID"] = max(int(project.get("lastID", 0)), highest)
        project.setdefault("modifyTimestamp", 0)
        project.setdefault("createTimestamp", 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            "qupath/project.qpproj: cannot be read as a QuPath project; move it away and run "
            "`ki67 report` again"
        ) from error
    return project, known


def _image(record: ScoreRecord, entry_id: int, uri: str, name: str) -> dict[str, Any]:
    metadata = {"ki67 slide id": record.slide.id}
    if record.ki67.index_pct is not None:
        metadata["ki67 index %"] = f"{record.ki67.index_pct:.1f}"
    return {
        "serverBuilder": {
            "builderType": "uri",
            "providerClassName": _OPENSLIDE,
            "uri": uri,
            "args": [],
        },
        "entryID": entry_id,
        "randomizedName": str(uuid.uuid5(_NAMESPACE, record.slide.id)),
        "imageName": name,
        "metadata": metadata,
    }


def _file_uri(path: Path) -> str:
    """As Java writes file URIs."""
    return "file:" + quote(Path(path).absolute().as_posix())


def _milliseconds(record: ScoreRecord) -> int:
    try:
        return int(datetime.fromisoformat(record.provenance.ended or "").timestamp() * 1000)
    except ValueError:
        return 0
