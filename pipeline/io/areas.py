"""Areas of a slide as QuPath annotations: tissue, analysed and excluded area, hotspots."""

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pipeline.io.files import write_text_atomic
from pipeline.io.outline import mask_outline

__all__ = [
    "AREA_CLASSES",
    "Area",
    "area_measurements",
    "boxes_outline",
    "excluded_area",
    "hotspot_area",
    "mask_outline",
    "write_areas",
]

AREA_CLASSES: dict[str, tuple[str, tuple[int, int, int]]] = {
    "tissue": ("Tissue", (0, 158, 115)),
    "analysed": ("Analysed area", (86, 180, 233)),
    "hotspot": ("Hotspot", (240, 228, 66)),
    "unreadable": ("Unreadable", (120, 120, 120)),
    "roi": ("Region of interest", (204, 121, 167)),
    "excluded": ("Excluded", (230, 159, 0)),
}
"""Class name and colour in QuPath of each kind of area; colours of the Okabe-Ito palette and a grey
of its own lightness, told apart by colour-blind readers."""

AREA_NAMESPACE = uuid.UUID("6c1d2f0e-5b0a-5d0c-9a53-8f2f4a6f0b67")
"""Of the ids: the same area of the same slide has the same id in every run."""

_QUPATH_NAMES = frozenset(
    {"Num Detections", "Num Positive", "Num Negative", "Positive %", "Num Positive per mm^2"}
)
_CIRCLE_QUARTER = 16
"""Sides of a quarter of a circle's outline, for readers that do not know ellipses."""


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A named area with numbers.

    Attributes
    ----------
    name
        Shown in QuPath; together with the slide id it makes the annotation's id.
    kind
        One of ``AREA_CLASSES``.
    geometry
        Valid, not empty Polygon or MultiPolygon, level-0 pixels.
    measurements
        Finite numbers by name; not under names that QuPath computes itself.
    metadata
        Words by name: model, mpp and the like.
    ellipse
        The geometry outlines an ellipse: QuPath then makes a true one of its bounding box.
    """

    name: str
    kind: str
    geometry: shapely.Polygon | shapely.MultiPolygon
    measurements: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    ellipse: bool = False

    def __post_init__(self) -> None:
        if self.kind not in AREA_CLASSES:
            raise ValueError(f"area kind {self.kind!r} is none of {', '.join(AREA_CLASSES)}")
        if not self.name:
            raise ValueError("an area needs a name")
        kind = self.geometry.geom_type
        if kind not in {"Polygon", "MultiPolygon"} or self.geometry.is_empty:
            raise ValueError(f"area {self.name}: {kind} must be a polygon and not empty")
        if self.ellipse and kind != "Polygon":
            raise ValueError(f"area {self.name}: an ellipse is one Polygon, not a {kind}")
        if not np.isfinite(shapely.get_coordinates(self.geometry)).all():
            raise ValueError(f"area {self.name}: a coordinate is not finite")
        if not self.geometry.is_valid:
            reason = shapely.is_valid_reason(self.geometry)
            raise ValueError(f"area {self.name}: not a valid polygon: {reason}")
        for key, value in self.measurements.items():
            if not math.isfinite(value):
                raise ValueError(f"area {self.name}: {key} is {value}, not finite")
            if key in _QUPATH_NAMES:
                raise ValueError(f"area {self.name}: {key} is a name that QuPath computes itself")


def area_measurements(
    *,
    index_pct: float | None = None,
    positive: int | None = None,
    negative: int | None = None,
    area_mm2: float | None = None,
) -> dict[str, float]:
    """Numbers of an area under the names shown in QuPath; what is None is left out."""
    named = {
        "AI Ki-67 index %": index_pct,
        "AI positive": positive,
        "AI negative": negative,
        "AI area mm2": area_mm2,
    }
    return {name: round(float(value), 4) for name, value in named.items() if value is not None}


def boxes_outline(
    boxes_l0: Sequence[tuple[float, float, float, float]],
) -> shapely.Polygon | shapely.MultiPolygon:
    """Outline of rectangles ``(x0, y0, x1, y1)`` in level-0 pixels; those that touch are joined."""
    return shapely.union_all(shapely.box(*np.array(boxes_l0, dtype=float).T))


def hotspot_area(
    *,
    rank: int,
    x_l0: float,
    y_l0: float,
    radius_um: float,
    mpp: tuple[float, float],
    measurements: Mapping[str, float],
    metadata: Mapping[str, str],
) -> Area:
    """Circle of a hotspot, named "Hotspot 1" and on; in QuPath a true ellipse.

    Parameters
    ----------
    rank
        1 is the highest.
    x_l0, y_l0
        Centre, level-0 pixels.
    radius_um
        Micrometres.
    mpp
        (x, y) micrometres per level-0 pixel: a circle on the glass is an ellipse in oblong pixels.
    measurements, metadata
        As of every area.
    """
    circle = shapely.Point(0.0, 0.0).buffer(radius_um, quad_segs=_CIRCLE_QUARTER)
    outline = shapely.transform(
        circle, lambda corners: np.array([x_l0, y_l0]) + corners / np.array(mpp)
    )
    return Area(f"Hotspot {rank}", "hotspot", outline, measurements, metadata, ellipse=True)


def excluded_area(
    reason: str,
    geometry: shapely.Polygon | shapely.MultiPolygon,
    *,
    measurements: Mapping[str, float],
    metadata: Mapping[str, str],
) -> Area:
    """Area that is not analysed, named "Excluded: reason"; the reason is in its metadata too."""
    name = f"Excluded: {reason.replace('_', ' ')}"
    return Area(name, "excluded", geometry, measurements, {**metadata, "reason": reason})


def write_areas(
    path: Path,
    areas: Sequence[Area],
    *,
    slide_id: str,
    offset_x_l0: float,
    offset_y_l0: float,
    size_px: tuple[int, int] | None = None,
) -> None:
    """Write areas as locked QuPath annotations, pixels as QuPath opens the slide.

    Parameters
    ----------
    path
        Ends in ``.geojson``, else QuPath reads nothing and says nothing.
    areas
        In level-0 pixels.
    slide_id
        Part of each annotation's id.
    offset_x_l0, offset_y_l0
        Corner of the slide's bounds, subtracted.
    size_px
        (width, height) of the bounds: areas are cut there (a mask's last pixel reaches beyond the
        slide), and what lies outside altogether is left out. None cuts nothing.

    Raises
    ------
    ValueError
        Another suffix or an offset that is not finite.
    OutputError
        The folder cannot be written.
    """
    if not path.name.endswith((".geojson", ".json")):
        raise ValueError(f"{path.name}: QuPath reads areas from .geojson files only")
    if not (math.isfinite(offset_x_l0) and math.isfinite(offset_y_l0)):
        raise ValueError(f"offset ({offset_x_l0}, {offset_y_l0}) is not finite")
    offset = np.array([offset_x_l0, offset_y_l0])
    seen: dict[str, int] = {}
    features = []
    for area in _cut(areas, offset, size_px):
        seen[area.name] = seen.get(area.name, 0) + 1
        key = f"{slide_id}/{area.name}" + (f"#{seen[area.name]}" if seen[area.name] > 1 else "")
        features.append(_feature(area, str(uuid.uuid5(AREA_NAMESPACE, key)), offset))
    collection = {"type": "FeatureCollection", "features": features}
    text = json.dumps(collection, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_text_atomic(path, text + "\n")


def _cut(
    areas: Sequence[Area], offset: np.ndarray[Any, Any], size_px: tuple[int, int] | None
) -> Iterator[Area]:
    """Give the areas as far as they lie on the slide; an ellipse that is cut is one no more."""
    if size_px is None:
        yield from areas
        return
    slide = shapely.box(*offset, *(offset + size_px))
    for area in areas:
        if slide.covers(area.geometry):
            yield area
            continue
        kept = shapely.get_parts(shapely.intersection(area.geometry, slide))
        polygons = [part for part in kept if part.geom_type == "Polygon" and part.area > 1]
        if polygons:
            geometry = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
            yield replace(area, geometry=geometry, ellipse=False)


def _feature(area: Area, identity: str, offset: np.ndarray[Any, Any]) -> dict[str, Any]:
    class_name, colour = AREA_CLASSES[area.kind]
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": area.name,
        "classification": {"name": class_name, "color": list(colour)},
        "isLocked": True,
    }
    if area.measurements:
        properties["measurements"] = {key: float(v) for key, v in area.measurements.items()}
    if area.metadata:
        properties["metadata"] = dict(area.metadata)
    geometry = _geometry(area, offset)
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": properties}


def _geometry(area: Area, offset: np.ndarray[Any, Any]) -> dict[str, Any]:
    moved = shapely.transform(area.geometry, lambda corners: np.round(corners - offset, 2) + 0.0)
    parts = list(moved.geoms) if moved.geom_type == "MultiPolygon" else [moved]
    polygons = [
        [shapely.get_coordinates(ring).tolist() for ring in (part.exterior, *part.interiors)]
        for part in parts
    ]
    if area.ellipse:
        return {"type": "Polygon", "coordinates": polygons[0], "isEllipse": True}
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
