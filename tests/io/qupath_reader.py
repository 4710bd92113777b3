"""A reader of QuPath's GeoJSON after its rules (0.5.1 and 0.7.0), written apart from the writers.

It takes what QuPath takes, gives what QuPath makes of it, and fails where QuPath fails: as a whole.
"""

import gzip
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDINGS = (".geojson", ".json", ".geojson.gz", ".json.gz")
TYPES = {"annotation", "detection", "cell", "tile", "tmacore", "root"}
GEOMETRIES = {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"}
Bounds = tuple[float, float, float, float]


class QupathError(Exception):
    """QuPath would refuse the whole file."""


@dataclass(frozen=True, slots=True)
class PathObject:
    """What QuPath makes of a feature."""

    kind: str
    path_class: tuple[str, ...]
    roi: str
    bounds: Bounds
    measurements: dict[str, float]
    name: str | None
    identity: uuid.UUID

    @property
    def is_positive(self) -> bool:
        """Whether QuPath's Ki-67 numbers count it as positive: the exact word, last in the name."""
        return bool(self.path_class) and self.path_class[-1] == "Positive"


def read_objects(path: Path) -> list[PathObject]:
    """Read a file; another ending gives nothing and says nothing, as in QuPath."""
    if not path.name.lower().endswith(ENDINGS):
        return []
    text = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        text = gzip.decompress(text)
    try:
        top = json.loads(text)
    except ValueError as error:
        raise QupathError(str(error)) from error
    if isinstance(top, dict) and "features" in top:
        top = top["features"]
    return [_path_object(feature) for feature in (top if isinstance(top, list) else [top])]


def _path_object(feature: dict[str, Any]) -> PathObject:
    properties = feature.get("properties", {})
    if not isinstance(properties, dict):
        raise QupathError("properties must be an object")
    kind = str(properties.get("objectType", "annotation")).lower()
    kind = kind if kind in TYPES else "annotation"
    if "name" in properties and not isinstance(properties["name"], str):
        raise QupathError("name is no text")
    roi, bounds = _roi(feature.get("geometry"))
    return PathObject(
        kind,
        _path_class(properties.get("classification")),
        roi,
        bounds,
        _measurements(properties.get("measurements", {})),
        properties.get("name"),
        _identity(feature.get("id")),
    )


def _identity(value: Any) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except (ValueError, TypeError, AttributeError):
        return uuid.uuid4()


def _path_class(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(":"))
    if "colorRGB" not in value:
        colour = value.get("color")
        if not isinstance(colour, list) or len(colour) not in (3, 4):
            raise QupathError("a class needs a colour of three numbers")
    return tuple(value["names"]) if "names" in value else _path_class(value["name"])


def _measurements(value: dict[str, Any]) -> dict[str, float]:
    kept = {}
    for name, number in value.items():
        if number is None or isinstance(number, bool):
            continue  # dropped with a warning
        try:
            kept[name] = float(number)
        except ValueError as error:
            raise QupathError(f"measurement {name} is {number}") from error
    return kept


def _roi(geometry: Any) -> tuple[str, Bounds]:
    if not isinstance(geometry, dict) or geometry.get("type") not in GEOMETRIES:
        raise QupathError(f"no geometry of a known kind: {geometry}")
    if not set(geometry.get("plane", {})) <= {"c", "z", "t"}:
        raise QupathError("unknown key of a plane")
    kind, places = geometry["type"], geometry["coordinates"]
    if kind in {"Point", "MultiPoint"}:
        points = [places] if kind == "Point" else places
        return "points", _box(points)
    polygons = {"Polygon": [places], "MultiPolygon": places}.get(kind, [])
    rings = [ring for polygon in polygons for ring in polygon]
    if any(len(ring) < 4 or ring[0] != ring[-1] for ring in rings):
        raise QupathError("a ring is not closed")
    bounds = _box([corner for ring in rings for corner in ring])
    if geometry.get("isEllipse"):
        return "ellipse", bounds
    if len(rings) > 1:
        return "geometry", bounds
    return ("rectangle" if _is_box(rings[0]) else "polygon"), bounds


def _box(points: list[list[float]]) -> Bounds:
    # coordinates are kept to a hundredth of a pixel
    x, y = [round(p[0], 2) for p in points], [round(p[1], 2) for p in points]
    return min(x), min(y), max(x), max(y)


def _is_box(ring: list[list[float]]) -> bool:
    x0, y0, x1, y1 = _box(ring)
    corners = {(round(x, 2), round(y, 2)) for x, y in ring}
    return len(ring) == 5 and corners == {(x0, y0), (x0, y1), (x1, y0), (x1, y1)}
