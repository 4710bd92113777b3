"""Cells marked in QuPath on a slide: its GeoJSON, and the slide's own pixels around them.

QuPath's frame begins at the slide's bounds where the file has them (``x_qp``); level 0 does not.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import AnnotationError, SlideError
from pipeline.io.resolution import resolve_resolution
from pipeline.io.slides import SlideReader, open_slide

GEOJSON_SUFFIXES = (".geojson", ".json", ".geojson.gz", ".json.gz")
MOST_PIXELS = 100_000_000
"""Of one area: 300 MB of pixels. Areas are fields of a few hundred micrometres."""

_POINTS = frozenset({"Point", "MultiPoint"})
_AREAS = frozenset({"Polygon", "MultiPolygon"})
_NOT_RECTANGULAR_PX2 = 1.0


@dataclass(frozen=True, slots=True)
class MarkedArea:
    """A rectangle in which every cell is marked, QuPath pixels; ``word`` is its class or name."""

    x0_qp: float
    y0_qp: float
    x1_qp: float
    y1_qp: float
    word: str

    def holds(self, xy_qp: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of ``(N, 2)`` points lie inside, the border included as in QuPath."""
        low, high = (self.x0_qp, self.y0_qp), (self.x1_qp, self.y1_qp)
        return np.asarray(((xy_qp >= low) & (xy_qp <= high)).all(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class MarkedSlide:
    """What one GeoJSON file says.

    Attributes
    ----------
    areas
        Rectangles, in the order of the file.
    xy_qp
        ``(N, 2)`` float64 QuPath pixels.
    words
        Class of each point, "" where it has none.
    """

    areas: tuple[MarkedArea, ...]
    xy_qp: NDArray[np.float64]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class AreaPixels:
    """Pixels under an area.

    Attributes
    ----------
    image
        ``(H, W, 3)`` uint8.
    x0_qp, y0_qp
        QuPath pixel of its first pixel.
    mpp_um
        Micrometres per pixel.
    """

    image: NDArray[np.uint8]
    x0_qp: int
    y0_qp: int
    mpp_um: float


def read_marked_slide(path: Path) -> MarkedSlide:
    """Read points and rectangles from a GeoJSON file that QuPath exported.

    Points are those of the Points tool, point detections, and the centres of other detections and
    cells (of the nucleus where there is one). Areas are annotations; those whose class ends in
    ``*`` are ignored, as in QuPath. Tiles and lines are left aside.

    Raises
    ------
    AnnotationError
        Unreadable, no GeoJSON, or an annotated area that is no rectangle.
    """
    areas: list[MarkedArea] = []
    points: list[tuple[float, float]] = []
    words: list[str] = []
    for number, feature in enumerate(_features(path, _content(path)), start=1):
        try:
            kind, word, geometry = _parts(feature)
            if kind in {"tile", "root", "tmacore"} or word.endswith("*"):
                continue
            shape = shapely.geometry.shape(geometry)
            if geometry["type"] in _POINTS:
                found = [(point.x, point.y) for point in getattr(shape, "geoms", [shape])]
            elif geometry["type"] not in _AREAS:
                continue
            elif kind == "annotation":
                areas.append(_rectangle(path, number, shape, word))
                continue
            else:
                found = [(shape.centroid.x, shape.centroid.y)]
        except AnnotationError:
            raise
        except (
            *(LookupError, TypeError, AttributeError, ValueError, ArithmeticError),
            *(RecursionError, shapely.errors.ShapelyError),
        ) as error:
            raise AnnotationError(
                f"{path}: object {number} is no GeoJSON feature ({error}); export it again "
                "from QuPath as a FeatureCollection"
            ) from error
        points += found
        words += [word] * len(found)
    return MarkedSlide(tuple(areas), np.array(points, np.float64).reshape(-1, 2), tuple(words))


def open_marked(path: Path) -> SlideReader:
    """Open a slide that is annotated.

    Raises
    ------
    AnnotationError
        It cannot be opened.
    """
    try:
        return open_slide(path)
    except SlideError as error:
        raise AnnotationError(str(error)) from error


def read_area(reader: SlideReader, area: MarkedArea, *, mpp_um: float | None) -> AreaPixels:
    """Read the level-0 pixels under an area; rectangle and slide bounds are added up here.

    Parameters
    ----------
    mpp_um
        Overrides what the slide says.

    Raises
    ------
    AnnotationError
        The area is not on the slide or too large, its pixels are damaged, or the slide does not
        tell its resolution.
    """
    bounds = reader.bounds
    x0, y0 = int(np.floor(area.x0_qp)), int(np.floor(area.y0_qp))
    x1, y1 = int(np.ceil(area.x1_qp)), int(np.ceil(area.y1_qp))
    place = f"{reader.name}: the area at ({x0}, {y0}), {x1 - x0} x {y1 - y0} px"
    if x0 < 0 or y0 < 0 or x1 > bounds.width or y1 > bounds.height:
        raise AnnotationError(
            f"{place}, reaches beyond the image of {bounds.width} x {bounds.height} px that QuPath "
            "shows; check that the annotations belong to this slide"
        )
    if (x1 - x0) * (y1 - y0) > MOST_PIXELS:
        raise AnnotationError(f"{place}, is more than {MOST_PIXELS:,} px; draw smaller areas")
    try:
        resolution = resolve_resolution(reader, mpp=mpp_um)
        image = reader.read(0, bounds.x0 + x0, bounds.y0 + y0, x1 - x0, y1 - y0)
    except SlideError as error:
        message = str(error).replace("--assume-mpp 0.25 (or --mpp)", "mpp_um (--mpp)")
        raise AnnotationError(message) from error
    if resolution.anisotropic:
        raise AnnotationError(
            f"{reader.name}: pixels of {resolution.mpp_x:g} x {resolution.mpp_y:g} um are no "
            "squares; give mpp_um if they are"
        )
    return AreaPixels(image, x0, y0, (resolution.mpp_x + resolution.mpp_y) / 2)


def _content(path: Path) -> Any:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
        return json.loads(text)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path}: cannot be read as GeoJSON ({error}); export it again from QuPath"
        ) from error


def _features(path: Path, content: Any) -> Iterator[Any]:
    """All features, those inside others too."""
    found = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(found, list):
        raise AnnotationError(f"{path}: holds no GeoJSON features; export it again from QuPath")
    for feature in found:
        yield feature
        properties = feature.get("properties") if isinstance(feature, dict) else None
        if isinstance(properties, Mapping) and properties.get("childObjects"):
            yield from _features(path, properties["childObjects"])


def _parts(feature: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """Kind of object, class, and geometry of a feature."""
    properties = feature.get("properties") or {}
    kind = properties.get("objectType", properties.get("object_type", "annotation"))
    geometry = feature.get("nucleusGeometry") or feature["geometry"]
    return str(kind).lower(), _word(properties.get("classification")), geometry


def _word(classification: Any) -> str:
    """Name of a class; QuPath writes a name, a list of its parts, or text."""
    if isinstance(classification, Mapping):
        names = classification.get("names")
        return ": ".join(map(str, names)) if names else str(classification.get("name") or "")
    return str(classification or "")


def _rectangle(path: Path, number: int, shape: Any, word: str) -> MarkedArea:
    x0, y0, x1, y1 = shape.bounds
    whole = (x1 - x0) * (y1 - y0)
    if whole <= 0 or abs(shape.area - whole) > _NOT_RECTANGULAR_PX2:
        raise AnnotationError(
            f"{path}: object {number} is an area but no rectangle; draw the area with QuPath's "
            "rectangle tool, or give it a class that ends in * to leave it out"
        )
    return MarkedArea(x0, y0, x1, y1, word)
