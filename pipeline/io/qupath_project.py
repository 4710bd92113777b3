"""The project file of a QuPath pack: images, their places, the classes.

A project that is already there keeps its images and their numbers: work saved in QuPath stays.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import OutputError
from pipeline.io.cells_text import CLASS_COLOURS
from pipeline.io.files import write_json_atomic
from pipeline.io.score import ScoreRecord

_QPPROJ_VERSION = "0.6.0"
_SERVERS = "qupath.lib.images.servers"
_Builder = tuple[str, list[str]]
_OPENSLIDE: _Builder = (f"{_SERVERS}.openslide.OpenslideServerBuilder", [])
_BIO_FORMATS: _Builder = (f"{_SERVERS}.bioformats.BioFormatsServerBuilder", ["--series", "0"])
_NAMESPACE = uuid.UUID("0d9f4c52-93a4-5f7e-8b6e-1f6f0a5b7c21")


def write_project(
    folder: Path, records: Sequence[ScoreRecord], slide_paths: Mapping[str, Path]
) -> None:
    """Write ``project.qpproj`` and, where there are none, the classes.

    Parameters
    ----------
    folder
        Of the pack.
    records
        Slides that belong into the project.
    slide_paths
        Where they lie, by slide id; a slide without a place is left out.

    Raises
    ------
    OutputError
        The folder cannot be written, or the project there is damaged.
    """
    if not (folder / "classifiers" / "classes.json").exists():
        write_json_atomic(folder / "classifiers" / "classes.json", _classes())
    _write_project(folder, records, slide_paths)


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
            "`ki67 export OUT --qupath` again"
        ) from error
    return project, known


def _image(record: ScoreRecord, entry_id: int, uri: str, name: str) -> dict[str, Any]:
    metadata = {"ki67 slide id": record.slide.id}
    # what TiffSlide alone reads (pyramids in SubIFDs) OpenSlide cannot open in QuPath either
    foreign = record.slide.reader == "tiffslide" and record.slide.vendor is None
    builder, arguments = _BIO_FORMATS if foreign else _OPENSLIDE
    if record.ki67.index_pct is not None:
        metadata["ki67 index %"] = f"{record.ki67.index_pct:.1f}"
    return {
        "serverBuilder": {
            "builderType": "uri",
            "providerClassName": builder,
            "uri": uri,
            "args": arguments,
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
