"""Score a finished batch again, and what the tests look at of it."""

import csv
import json
from pathlib import Path
from typing import Any

from pipeline.run.rescoring import Rescored, ScoreRequest, rescore_archive


def again(out: Path, changes: dict[str, Any] | None = None, **how: bool) -> dict[str, Rescored]:
    request = ScoreRequest(changes or {}, **how)
    ended, _ = rescore_archive(out, request, on_slide=lambda *_: None)
    return {item.slide_id.rsplit("-", 1)[0]: item for item in ended}


def every_byte(out: Path) -> dict[str, bytes]:
    """All bytes of all slides, but for what done marks say of when and by whom they were made."""
    paths = sorted((out / "slides").rglob("*"))
    found = {str(path.relative_to(out)): path.read_bytes() for path in paths if path.is_file()}
    for name, content in found.items():
        if name.endswith("/done.json"):
            found[name] = json.dumps({**json.loads(content), "made": None}).encode()
    return found


def folder_of(out: Path, stem: str) -> Path:
    return next((out / "slides").glob(f"{stem}-*"))


def row_of(out: Path, stem: str) -> dict[str, str]:
    with (out / "slides.csv").open(encoding="utf-8", newline="") as stream:
        return next(row for row in csv.DictReader(stream) if row["slide_id"].startswith(stem))


def box(x0: float, y0: float, x1: float, y1: float, name: str | None = "Tumor") -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation"}
    if name:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def region(folder: Path, *features: dict[str, Any], name: str = "first.geojson") -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    collection = {"type": "FeatureCollection", "features": list(features)}
    (folder / name).write_text(json.dumps(collection), encoding="utf-8")
    return {"roi": {"folder": str(folder)}}
