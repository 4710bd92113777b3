"""What QuPath's own reader accepts, as a checker: one bad feature makes it refuse a whole file."""

import gzip
import json
import math
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OBJECT_TYPES = {"annotation", "detection", "tile"}
ALLOWED_PROPERTIES = {
    "objectType",
    "name",
    "classification",
    "color",
    "isLocked",
    "measurements",
    "metadata",
}
OWN_MEASUREMENTS = {
    "Num Detections",
    "Num Positive",
    "Num Negative",
    "Positive %",
    "Num Positive per mm^2",
}
"""QuPath computes these itself and drops stored ones of the same name."""


def read_features(path: Path) -> list[dict[str, Any]]:
    """Features of a file, read strictly: no NaN, no duplicate key, names QuPath opens."""
    assert path.name.endswith((".geojson", ".geojson.gz")), path.name
    packed = path.read_bytes()
    text = gzip.decompress(packed) if path.name.endswith(".gz") else packed
    top = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicate)
    assert top["type"] == "FeatureCollection"
    assert "crs" not in top
    features: list[dict[str, Any]] = top["features"]
    return features


def check_file(path: Path) -> Counter[str]:
    """Check every feature of a file; count them by class name."""
    features = read_features(path)
    ids = [feature["id"] for feature in features if "id" in feature]
    assert len(ids) == len(set(ids)), "duplicate ids"
    for feature in features:
        check_feature(feature)
    classes = [feature["properties"].get("classification") for feature in features]
    return Counter(found["name"] if found else "unclassified" for found in classes)


def check_feature(feature: dict[str, Any]) -> None:
    """Check one feature against the reader's rules."""
    assert feature["type"] == "Feature"
    assert set(feature) <= {"type", "id", "geometry", "properties"}
    assert None not in list(_values(feature)), "null is an error"
    if "id" in feature:
        assert str(uuid.UUID(feature["id"])) == feature["id"]
    properties = feature["properties"]
    assert set(properties) <= ALLOWED_PROPERTIES
    assert properties["objectType"] in OBJECT_TYPES
    if properties["objectType"] == "detection":
        assert set(feature) == {"type", "geometry", "properties"}, "ids cost memory"
    if "classification" in properties:
        _check_class(properties["classification"])
    if "color" in properties:
        _check_colour(properties["color"])
    if "name" in properties:
        assert isinstance(properties["name"], str)
    for key, number in properties.get("measurements", {}).items():
        assert key not in OWN_MEASUREMENTS
        assert isinstance(number, int | float)
        assert not isinstance(number, bool)
    for value in properties.get("metadata", {}).values():
        assert isinstance(value, str)
    _check_geometry(feature["geometry"])


def _check_class(classification: dict[str, Any]) -> None:
    assert set(classification) == {"name", "color"}, "a class needs name and color"
    assert isinstance(classification["name"], str)
    _check_colour(classification["color"])


def _check_colour(colour: list[int]) -> None:
    assert len(colour) == 3
    assert all(isinstance(v, int) and 0 <= v <= 255 for v in colour)


def _check_geometry(geometry: dict[str, Any]) -> None:
    assert set(geometry) <= {"type", "coordinates", "isEllipse"}
    assert geometry["type"] in {"Point", "Polygon", "MultiPolygon"}
    polygons = {
        "Point": [],
        "Polygon": [geometry["coordinates"]],
        "MultiPolygon": geometry["coordinates"],
    }[geometry["type"]]
    for polygon in polygons:
        for ring in polygon:
            assert len(ring) >= 4
            assert ring[0] == ring[-1], "rings are closed"
    for number in _values(geometry["coordinates"]):
        assert isinstance(number, int | float)
        assert math.isfinite(number)
        assert round(number, 2) == number, "at most two decimals"


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _values(part)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part)
    else:
        yield value


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in JSON")


def _no_duplicate(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), "duplicate key"
    return dict(pairs)
