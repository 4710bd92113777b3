"""Artefacts planted on known ground: blur, ink, folds, air, dirt, pigment, wrong stains."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.io.files import write_text_atomic
from pipeline.io.synthetic.artefact_looks import LOOKS, PAD_UM, Place
from pipeline.io.synthetic.noise import F32

LOCAL_KINDS = (
    "blur",
    "pen_blue",
    "pen_green",
    "pen_black",
    "fold",
    "bubble",
    "debris",
    "pigment",
)
"""Artefacts of a part of the slide."""
STAIN_KINDS = ("pale", "overstained", "no_haematoxylin", "h_and_e")
"""Faults of the whole slide."""

LONG = {"pen_blue": 130.0, "pen_green": 130.0, "pen_black": 130.0, "fold": 60.0}
"""Half width in micrometres of kinds that are lines; the others are round."""
ROUND = {"blur": 260.0, "bubble": 190.0, "debris": 85.0, "pigment": 150.0}
"""Radius in micrometres of the round kinds."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """One artefact: all within ``radius_um`` of a line, or everything where there is no line.

    Attributes
    ----------
    kind
        A key of ``LOOKS``.
    line_um
        Corners (x, y) of the line on the plane, in micrometres; one corner makes a disc.
    radius_um
        Half width of the line, or radius of the disc.
    seed
        Of its textures.
    """

    kind: str
    line_um: tuple[tuple[float, float], ...] = ()
    radius_um: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in LOOKS:
            raise ConfigError(f"artefact {self.kind!r} is unknown; known: {', '.join(LOOKS)}")
        if self.line_um and not self.radius_um > 0:
            raise ConfigError(f"artefact {self.kind}: radius_um={self.radius_um} must be above 0")

    def depth_um(self, x_um: NDArray[np.float64], y_um: NDArray[np.float64]) -> F32:
        """Distance to the artefact's border on the grid of columns and rows, positive inside."""
        if not self.line_um:
            return np.full((y_um.size, x_um.size), 1e6, np.float32)
        x, y = x_um[None, :], y_um[:, None]
        starts = self.line_um[:-1] or self.line_um
        ends = self.line_um[1:] or self.line_um
        distance = np.full((y_um.size, x_um.size), np.inf)
        for (ax, ay), (bx, by) in zip(starts, ends, strict=True):
            length2 = (bx - ax) ** 2 + (by - ay) ** 2
            along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / max(length2, 1e-9)
            along = np.clip(along, 0, 1)
            to_line = np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay))
            distance = np.minimum(distance, to_line)
        return (self.radius_um - distance).astype(np.float32)

    def outline_um(self) -> shapely.Polygon:
        """The border as a polygon; a kind that covers everything has none."""
        if len(self.line_um) == 1:
            return shapely.Point(self.line_um[0]).buffer(self.radius_um)
        return shapely.LineString(self.line_um).buffer(self.radius_um)


def plant(
    rgb: NDArray[np.uint8],
    artefacts: Sequence[Artefact],
    *,
    mpp_um: float,
    glass: tuple[float, float, float],
    x0_px: int = 0,
    y0_px: int = 0,
) -> NDArray[np.uint8]:
    """Plant artefacts on pixels; overlapping rectangles of one plane agree except near borders.

    Parameters
    ----------
    rgb
        uint8 ``(h, w, 3)``: a field, or a rectangle of a slide that reaches ``pad_px`` beyond
        what is kept.
    glass
        Colour of empty glass.
    x0_px, y0_px
        Place of the first pixel on the plane.
    """
    height, width = rgb.shape[:2]
    x_um, y_um = _centres(x0_px, width, mpp_um), _centres(y0_px, height, mpp_um)
    light = rgb.astype(np.float32)
    for artefact in artefacts:
        depth = artefact.depth_um(x_um, y_um)
        if not (depth > -20).any():
            continue
        place = Place(x_um, y_um, mpp_um, np.asarray(glass, np.float32), artefact.seed)
        light = LOOKS[artefact.kind](place, np.maximum(light, 1), depth)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def planted_mask(
    artefact: Artefact, height: int, width: int, *, mpp_um: float
) -> NDArray[np.bool_]:
    """``(height, width)``: the pixels of a field that an artefact covers."""
    x_um, y_um = _centres(0, width, mpp_um), _centres(0, height, mpp_um)
    return np.asarray(artefact.depth_um(x_um, y_um) > 0)


def pad_px(mpp_um: float) -> int:
    """Pixels to read around a rectangle so that its artefacts do not depend on its borders."""
    return int(np.ceil(PAD_UM / mpp_um)) + 1


def field_artefact(kind: str, side_um: float, seed: int) -> Artefact:
    """Place an artefact of a field: a line across it, or a disc near its middle."""
    if kind in STAIN_KINDS:
        return Artefact(kind, seed=seed)
    rng = np.random.default_rng((seed, 41))
    middle = rng.uniform(0.4, 0.6, 2) * side_um
    if kind in ROUND:
        return Artefact(kind, ((middle[0], middle[1]),), min(ROUND[kind], 0.42 * side_um), seed)
    return Artefact(kind, _line(rng, middle, 0.8 * side_um), min(LONG[kind], 0.2 * side_um), seed)


def draw_artefacts(
    seed: int, kinds: Sequence[str], places_um: NDArray[np.float64], length_um: float = 1200.0
) -> tuple[Artefact, ...]:
    """One artefact of each kind.

    Parameters
    ----------
    places_um
        ``(len(kinds), 2)``: x and y of their middles.
    length_um
        Of those that are lines.
    """
    drawn = []
    for number, kind in enumerate(kinds):
        rng = np.random.default_rng((seed, 42, number))
        if kind not in LOOKS:
            raise ConfigError(f"artefact {kind!r} is unknown; known: {', '.join(LOOKS)}")
        if kind in STAIN_KINDS:
            drawn.append(Artefact(kind, seed=seed))
        elif kind in ROUND:
            x, y = places_um[number].tolist()
            drawn.append(Artefact(kind, ((x, y),), ROUND[kind], seed + number))
        else:
            line = _line(rng, places_um[number], length_um)
            drawn.append(Artefact(kind, line, LONG[kind], seed + number))
    return tuple(drawn)


def write_artefacts(path: Path, artefacts: Sequence[Artefact], *, mpp_um: float) -> None:
    """Write the borders of the artefacts as GeoJSON polygons, level-0 pixels, for QuPath.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    features = []
    for artefact in artefacts:
        if not artefact.line_um:
            continue
        outline = shapely.transform(artefact.outline_um(), lambda um: np.round(um / mpp_um, 1))
        properties = {
            "objectType": "annotation",
            "name": artefact.kind,
            "classification": {"name": artefact.kind, "color": [120, 120, 120]},
        }
        geometry = json.loads(shapely.to_geojson(outline))
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    whole = [artefact.kind for artefact in artefacts if not artefact.line_um]
    collection = {"type": "FeatureCollection", "whole_slide": whole, "features": features}
    write_text_atomic(path, json.dumps(collection, separators=(",", ":")) + "\n")


def _centres(first_px: int, count: int, mpp_um: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(first_px, first_px + count) + 0.5) * mpp_um, np.float64)


def _line(
    rng: np.random.Generator, middle: NDArray[np.float64], length_um: float
) -> tuple[tuple[float, float], ...]:
    """Three corners through a point, slightly bent."""
    angle = rng.uniform(0, np.pi)
    bent = angle + rng.uniform(-0.35, 0.35)
    x, y = float(middle[0]), float(middle[1])
    half = length_um / 2
    return (
        (x - half * float(np.cos(angle)), y - half * float(np.sin(angle))),
        (x, y),
        (x + half * float(np.cos(bent)), y + half * float(np.sin(bent))),
    )
