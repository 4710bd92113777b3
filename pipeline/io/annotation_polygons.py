"""QuPath annotations as a region of interest: GeoJSON polygons by class, repaired or refused."""

import fnmatch
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pipeline.core.tiling import Box
from pipeline.errors import AnnotationError
from pipeline.io.roi import Area, Roi

POLYGON_SUFFIXES = (".geojson.gz", ".json.gz", ".geojson", ".json")
MOST_BYTES = 256 << 20
"""Unpacked; QuPath itself needs some 3 kB a feature, so a larger file holds detections."""
MOST_VERTICES = 5_000_000

_NOT_AREAS = {"detection", "cell", "tile", "tmacore", "root"}
_UNCLASSIFIED = ""


@dataclass(frozen=True, slots=True)
class RoiClasses:
    """Class names of annotations, compared without case; ``*`` stands for any letters."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Annotation:
    class_name: str
    area: Area
    repaired: bool


def read_polygons(path: Path, *, sha256: str, bounds: Box, classes: RoiClasses) -> Roi:
    """Read annotations as QuPath exports them; detections in the same file are passed over.

    An annotation without a class is included where no annotation has a class of
    ``classes.include``.

    Raises
    ------
    AnnotationError
        The file is no such GeoJSON, too large, holds a polygon that cannot be repaired, no area
        of the classes, or none on the slide.
    """
    annotations = list(_annotations(path, _features(path, _load(path))))
    include = _of(annotations, classes.include)
    exclude = _of(annotations, classes.exclude)
    if not include:
        include = [item for item in annotations if item.class_name == _UNCLASSIFIED]
    if not include and not exclude:
        raise AnnotationError(_nothing(path, annotations, classes))
    used = {id(item) for item in (*include, *exclude)}
    roi = Roi(
        name=path.name,
        sha256=sha256,
        include=_on_slide(path, include, bounds) if include else None,
        exclude=_on_slide(path, exclude, bounds, may_miss=True) if exclude else None,
        include_classes=_names(include),
        exclude_classes=_names(exclude),
        unused_classes=_names([item for item in annotations if id(item) not in used]),
        repaired=sum(item.repaired for item in annotations if id(item) in used),
    )
    if isinstance(roi.include, Area) and roi.exclude is not None:
        rest = shapely.difference(roi.include, roi.exclude)
        if rest.area == 0:
            raise AnnotationError(f"{path.name}: the excluded areas cover the whole region")
    return roi


def _load(path: Path) -> Any:
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise AnnotationError(f"{path.name}: cannot be read ({error})") from error
    if len(text) > MOST_BYTES:
        raise AnnotationError(
            f"{path.name}: larger than {MOST_BYTES >> 20} MB; export annotations without detections"
        )
    try:
        return json.loads(text)
    except RecursionError as error:
        raise AnnotationError(f"{path.name}: nested too deeply to be GeoJSON") from error
    except ValueError as error:
        raise AnnotationError(f"{path.name}: not JSON ({error}); export it again") from error


def _features(path: Path, loaded: Any) -> list[Any]:
    """FeatureCollection, bare list, one Feature or one geometry."""
    if isinstance(loaded, dict) and loaded.get("type") == "FeatureCollection":
        loaded = loaded.get("features")
    elif isinstance(loaded, dict) and loaded.get("type") == "Feature":
        loaded = [loaded]
    elif isinstance(loaded, dict) and "coordinates" in loaded:
        loaded = [{"type": "Feature", "geometry": loaded, "properties": {}}]
    if not isinstance(loaded, list):
        raise AnnotationError(
            f"{path.name}: no GeoJSON features; export annotations from QuPath as GeoJSON"
        )
    return loaded


def _annotations(path: Path, features: Sequence[Any]) -> Iterator[_Annotation]:
    vertices = 0
    for number, feature in enumerate(features, start=1):
        where = f"{path.name}: feature {number}"
        if not isinstance(feature, dict) or not isinstance(feature.get("geometry"), dict):
            raise AnnotationError(f"{where} has no geometry; export it again")
        properties = feature.get("properties") or {}
        if not isinstance(properties, dict):
            raise AnnotationError(f"{where}: its properties are no object; export it again")
        if _object_type(properties) in _NOT_AREAS:
            continue
        geometry = feature["geometry"]
        if geometry.get("type") not in {"Polygon", "MultiPolygon"}:
            continue  # a line or points: no area
        area, repaired = _area(where, geometry)
        vertices += shapely.count_coordinates(area)
        if vertices > MOST_VERTICES:
            raise AnnotationError(
                f"{path.name}: more than {MOST_VERTICES} corners; simplify the annotations"
            )
        yield _Annotation(_class_name(properties), area, repaired)


def _object_type(properties: dict[str, Any]) -> str:
    names = ("objectType", "object_type", "type")
    return str(next((properties[name] for name in names if name in properties), "")).lower()


def _class_name(properties: dict[str, Any]) -> str:
    """The words of QuPath's class; ``A: B`` for a derived one, empty without a class."""
    found = properties.get("classification")
    if isinstance(found, dict):
        names = found.get("names")
        found = ": ".join(map(str, names)) if isinstance(names, list) else found.get("name")
    return str(found).strip() if found else _UNCLASSIFIED


def _area(where: str, geometry: dict[str, Any]) -> tuple[Area, bool]:
    """One valid polygon or more, and whether it had to be repaired."""
    parts = geometry.get("coordinates")
    polygons: Any = [parts] if geometry["type"] == "Polygon" else parts
    try:
        rings = [[_ring(ring) for ring in polygon] for polygon in polygons or []]
        areas = [shapely.Polygon(shell, holes) for shell, *holes in rings]
        if geometry.get("isEllipse") and len(areas) == 1:
            areas = [_ellipse(areas[0])]
    except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        raise AnnotationError(
            f"{where}: its rings are no lists of at least three finite points"
        ) from error
    whole = shapely.MultiPolygon(areas) if len(areas) != 1 else areas[0]
    valid = whole.is_valid
    area = _polygons_of(whole if valid else shapely.make_valid(whole))
    if area.area == 0:
        raise AnnotationError(f"{where} has no area; draw it again")
    return area, not valid


def _ring(points: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    corners = np.array([[point[0], point[1]] for point in points], np.float64)
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("too few points or not finite")
    return corners


def _ellipse(box: shapely.Polygon) -> shapely.Polygon:
    """QuPath writes an ellipse as its bounding box and a mark."""
    x0, y0, x1, y1 = box.bounds
    turn = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    x = (x0 + x1) / 2 + (x1 - x0) / 2 * np.cos(turn)
    y = (y0 + y1) / 2 + (y1 - y0) / 2 * np.sin(turn)
    return shapely.Polygon(np.stack([x, y], axis=1))


def _of(annotations: Sequence[_Annotation], patterns: Sequence[str]) -> list[_Annotation]:
    return [item for item in annotations if _matches(item.class_name, patterns)]


def _matches(class_name: str, patterns: Sequence[str]) -> bool:
    """A class counts by its whole name or, where it is derived, by its first part."""
    words = {class_name.lower(), class_name.split(":")[0].strip().lower()} - {_UNCLASSIFIED}
    return any(fnmatch.fnmatchcase(word, pattern.lower()) for word in words for pattern in patterns)


def _names(annotations: Sequence[_Annotation]) -> tuple[str, ...]:
    return tuple(sorted({item.class_name or "(no class)" for item in annotations}))


def _on_slide(
    path: Path, annotations: Sequence[_Annotation], bounds: Box, *, may_miss: bool = False
) -> Area | None:
    """The union, moved to level 0; not cut, since a cell may be centred on the slide's border."""
    united = shapely.union_all([item.area for item in annotations])
    corner = np.array([bounds.x0, bounds.y0], np.float64)
    moved = shapely.transform(united, lambda corners: corners + corner)
    slide = shapely.box(bounds.x0, bounds.y0, bounds.x1, bounds.y1)
    if shapely.intersection(moved, slide).area > 0:
        return _polygons_of(moved)
    if may_miss:
        return None
    x0, y0, x1, y1 = united.bounds
    raise AnnotationError(
        f"{path.name}: the region (x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f}) lies outside "
        f"the slide ({bounds.width} x {bounds.height}); was it drawn on another slide?"
    )


def _polygons_of(geometry: shapely.Geometry) -> Area:
    """Only the areas of what a set operation left: lines and points have none."""
    if isinstance(geometry, shapely.Polygon | shapely.MultiPolygon):
        return geometry
    return shapely.union_all([part for part in shapely.get_parts(geometry) if part.area > 0])


def _nothing(path: Path, annotations: Sequence[_Annotation], classes: RoiClasses) -> str:
    if not annotations:
        return f"{path.name}: no annotation with an area; draw one, or leave the file out"
    found = ", ".join(_names(annotations))
    wanted = ", ".join(classes.include)
    return f"{path.name}: no annotation of class {wanted}; found {found} (see roi.include)"
