"""What is drawn over a slide's overview: outlines, the local index, hotspots, a scale bar."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.errors import OutputError
from pipeline.io.areas import AREA_CLASSES
from pipeline.io.density import DensityMap, read_density
from pipeline.io.pictures import INDEX_SCALE_PCT, NEGATIVE_RGB, POSITIVE_RGB
from pipeline.io.score import ScoreRecord
from pipeline.report.pictures import Picture, data_uri, webp_bytes
from pipeline.report.text import length

INDEX_COLOURS = (NEGATIVE_RGB, (247, 230, 150), POSITIVE_RGB)
"""Of the local index from 0 to ``INDEX_SCALE_PCT``, on every slide the same: as in overlay.jpg."""

_DRAWN = ("tissue", "roi", "excluded", "unreadable")
_MOST_CORNERS = 4000
_MOST_BINS = 256
_LOCAL_CELLS = 100
"""Cells that a place of the local index rests on: fewer show chance."""
_MOST_SMOOTH_BINS = 4.0


@dataclass(frozen=True, slots=True)
class Outline:
    """One kind of area as an SVG path in pixels of the picture."""

    kind: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class IndexLayer:
    """The local index as a picture and its place in pixels of the overview."""

    src: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Spot:
    """A hotspot's ellipse in pixels of the overview."""

    rank: int
    x: float
    y: float
    radius_x: float
    radius_y: float


@dataclass(frozen=True, slots=True)
class Overview:
    """A slide's picture with its layers."""

    picture: Picture
    outlines: tuple[Outline, ...]
    index: IndexLayer | None
    spots: tuple[Spot, ...]
    bar_px: float
    bar: str


def make_overview(folder: Path, record: ScoreRecord, picture: Picture) -> Overview:
    """Lay what is known of a slide over its picture; what is missing or damaged is left out."""
    bounds, mpp = record.slide.bounds, record.slide.mpp
    if bounds is None or mpp is None or not (bounds[2] and bounds[3]):
        return Overview(picture, (), None, (), 0.0, "")
    scale = picture.width / bounds[2], picture.height / bounds[3]
    bar_um = round_length(0.2 * bounds[2] * mpp[0])
    return Overview(
        picture=picture,
        outlines=tuple(_outlines(folder / "areas.geojson", scale)),
        index=_index_layer(folder / "density", (bounds[0], bounds[1]), scale),
        spots=tuple(
            Spot(
                rank=spot.rank,
                x=round((spot.x_l0 - bounds[0]) * scale[0], 1),
                y=round((spot.y_l0 - bounds[1]) * scale[1], 1),
                radius_x=round(spot.radius_um / mpp[0] * scale[0], 1),
                radius_y=round(spot.radius_um / mpp[1] * scale[1], 1),
            )
            for spot in record.hotspots
        ),
        bar_px=round(bar_um / mpp[0] * scale[0], 1),
        bar=length(bar_um),
    )


def round_length(most_um: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that fits."""
    power = 10.0 ** math.floor(math.log10(max(most_um, 1e-3)))
    return max(step for step in (1, 2, 5) if step * power <= most_um * (1 + 1e-9)) * power


def index_rgba(density: DensityMap) -> NDArray[np.uint8]:
    """Colour the local index, uint8 ``(height, width, 4)``: the fewer cells, the more see-through.

    Counts are smoothed first, the sparser the wider: a bin of 50 um holds too few cells to show
    an index of its own.
    """
    counts = _coarser(density.counts).astype(np.float64)
    a_bin = counts.sum() / max(1, np.count_nonzero(counts.sum(axis=0)))
    # a Gaussian of this deviation weighs as many bins as 4 pi times its square
    sigma = float(np.clip((_LOCAL_CELLS / (4 * np.pi * a_bin)) ** 0.5, 1, _MOST_SMOOTH_BINS))
    # no colour where no cell is near, however widely the index is smoothed
    near = np.minimum(1.5 * gaussian_filter((counts.sum(axis=0) > 0).astype(np.float64), 0.7), 1.0)
    counts = gaussian_filter(counts, (0, sigma, sigma))
    total = counts.sum(axis=0)
    share = np.divide(counts[0], total, out=np.zeros_like(total), where=total > 0)
    place = np.clip(100 * share / INDEX_SCALE_PCT, 0, 1) * (len(INDEX_COLOURS) - 1)
    knots, colours = np.arange(len(INDEX_COLOURS)), np.array(INDEX_COLOURS, float)
    rgb = [np.interp(place, knots, colours[:, channel]) for channel in range(3)]
    some = total > 0.1 * a_bin
    crowded = float(np.percentile(total[some], 75)) if some.any() else 1.0
    alpha = np.where(some, 0.9 * near * np.sqrt(np.minimum(total / crowded, 1.0)), 0.0)
    return np.dstack([*rgb, 255 * alpha]).round().astype(np.uint8)


def _index_layer(
    path: Path, origin_l0: tuple[int, int], scale: tuple[float, float]
) -> IndexLayer | None:
    if not path.exists():
        return None
    try:
        density = read_density(path)
    except OutputError:
        return None
    if not density.counts.any():
        return None
    rgba, frame = index_rgba(density), density.frame
    # whole blocks of bins: the last may reach beyond the frame
    step = _step(density.counts.shape[1:])
    height, width = rgba.shape[:2]
    return IndexLayer(
        src=data_uri(webp_bytes(Image.fromarray(rgba), quality=70)),
        x=round((frame.origin_x_l0 - origin_l0[0]) * scale[0], 1),
        y=round((frame.origin_y_l0 - origin_l0[1]) * scale[1], 1),
        width=round(width * step * frame.scale_x * scale[0], 1),
        height=round(height * step * frame.scale_y * scale[1], 1),
    )


def _step(shape: Sequence[int]) -> int:
    return -(-max(shape) // _MOST_BINS)


def _coarser(counts: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Add up square blocks of bins until the longer side is a small picture's."""
    step = _step(counts.shape[1:])
    if step == 1:
        return counts
    _, height, width = counts.shape
    padded = np.pad(counts, ((0, 0), (0, -height % step), (0, -width % step)))
    blocks = padded.reshape(2, padded.shape[1] // step, step, padded.shape[2] // step, step)
    added: NDArray[np.uint32] = blocks.sum(axis=(2, 4), dtype=np.uint32)
    return added


def _outlines(path: Path, scale: tuple[float, float]) -> Iterator[Outline]:
    """One path a named area, those of one name together."""
    kinds = {name: kind for kind, (name, _) in AREA_CLASSES.items() if kind in _DRAWN}
    rings: dict[tuple[str, str], list[Any]] = {}
    try:
        for feature in json.loads(path.read_bytes())["features"]:
            properties = feature["properties"]
            kind = kinds.get(properties["classification"]["name"])
            if kind is not None:
                key = _DRAWN.index(kind), str(properties.get("name") or kind)
                rings.setdefault((_DRAWN[key[0]], key[1]), []).extend(_rings(feature["geometry"]))
    except (OSError, ValueError, KeyError, TypeError):
        return
    for kind, name in sorted(rings, key=lambda key: (_DRAWN.index(key[0]), key[1])):
        outline = _path(rings[kind, name], scale)
        if outline:
            yield Outline(kind, name, outline)


def _rings(geometry: dict[str, Any]) -> Iterator[NDArray[np.float64]]:
    polygons = geometry["coordinates"]
    for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
        for ring in polygon:
            yield np.asarray(ring, dtype=np.float64)


def _path(rings: Iterable[NDArray[np.float64]], scale: tuple[float, float]) -> str:
    """Corners that a reader cannot tell apart are left out, more so where there are very many."""
    placed = [ring[:, :2] * scale for ring in rings]
    least_px = 0.7
    while True:
        thin = [_thinned(ring, least_px) for ring in placed]
        if sum(map(len, thin)) <= _MOST_CORNERS or least_px > 8:
            break
        least_px *= 1.6
    return "".join(
        "M" + "L".join(f"{x:g} {y:g}" for x, y in ring.tolist()) + "Z"
        for ring in thin
        if len(ring) > 2
    )


def _thinned(ring: NDArray[np.float64], least_px: float) -> NDArray[np.float64]:
    kept = [ring[0]]
    for corner in ring[1:-1]:
        if np.abs(corner - kept[-1]).max() >= least_px:
            kept.append(corner)
    return np.round(np.array(kept), 1)
