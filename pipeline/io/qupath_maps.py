"""Local index of a slide for QuPath: a picture over the whole image, squares with numbers."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.io.areas import AREA_NAMESPACE, area_measurements
from pipeline.io.density import BIN_UM, bin_cells, index_pct
from pipeline.io.files import atomic_path, write_text_atomic
from pipeline.io.pictures import index_colour

TileKind = Literal["tile", "annotation"]

TILE_UM = 256.0
MOST_TILES = 50_000
"""More slow QuPath down: the squares are then made twice as wide."""

_MOST_PICTURE_PX = 8192
_MPP_UNKNOWN = (0.25, 0.25)


@dataclass(frozen=True, slots=True)
class QupathFrame:
    """The rectangle of level 0 that QuPath opens; its corner is QuPath's (0, 0).

    Attributes
    ----------
    x_l0, y_l0, width, height
        Level-0 pixels.
    mpp
        (x, y) micrometres per pixel, None where unknown.
    """

    x_l0: int
    y_l0: int
    width: int
    height: int
    mpp: tuple[float, float] | None

    def bins(self, side_um: float) -> PlaneFrame:
        """Squares of ``side_um`` from the corner on; the last ones reach beyond the border."""
        mpp_x, mpp_y = self.mpp or _MPP_UNKNOWN
        side_x, side_y = side_um / mpp_x, side_um / mpp_y
        across = int(np.ceil(self.width / side_x - 1e-9))
        down = int(np.ceil(self.height / side_y - 1e-9))
        return PlaneFrame(self.x_l0, self.y_l0, side_x, side_y, max(1, across), max(1, down))

    def cover(self, side_um: float) -> PlaneFrame:
        """Bins of about ``side_um`` that fill the rectangle exactly, to its last pixel."""
        near = self.bins(side_um)
        across, down = (
            int(np.clip(round(size / side), 1, _MOST_PICTURE_PX))
            for size, side in ((self.width, near.scale_x), (self.height, near.scale_y))
        )
        side_x, side_y = self.width / across, self.height / down
        return PlaneFrame(self.x_l0, self.y_l0, side_x, side_y, across, down)


def write_density_png(
    path: Path, points: CellPoints, frame: QupathFrame, *, bin_um: float = BIN_UM
) -> None:
    """Write an RGBA picture that covers exactly QuPath's image, one pixel a bin of about 50 um.

    Colour is the local index (blue 0 %, yellow, vermilion 50 % and more, as in overlay.jpg), the
    more opaque the more cells stand there; where no cell is, nothing is drawn.

    Raises
    ------
    ValueError
        A cell is nowhere or outside the image.
    OutputError
        The folder cannot be written.
    """
    counts = bin_cells(points, frame.cover(bin_um))
    total = counts.sum(axis=0)
    some = total > 0
    colour = index_colour(np.nan_to_num(index_pct(counts)).astype(np.float64))
    crowded = max(1.0, float(np.percentile(total[some], 90))) if some.any() else 1.0
    alpha = np.where(some, 0.25 + 0.65 * np.minimum(total / crowded, 1.0), 0.0)
    pixels = np.dstack([np.where(some[..., None], colour, 0.0), np.rint(255 * alpha)])
    with atomic_path(path) as partial:
        Image.fromarray(np.rint(pixels).astype(np.uint8), "RGBA").save(partial, "PNG")


def write_tiles(
    path: Path,
    points: CellPoints,
    frame: QupathFrame,
    *,
    slide_id: str,
    kind: TileKind = "tile",
    tile_um: float = TILE_UM,
) -> float:
    """Write squares that hold cells, with the index and the cells of each as measurements.

    As detection tiles they are shown by QuPath's measurement maps, but tiles are detections: they
    count in ``Num Detections``. As annotations they carry the index's colour and a stable id.

    Parameters
    ----------
    path
        Ends in ``.geojson``.
    points
        Cells in level-0 pixels.
    frame
        What QuPath opens; squares are cut at its border.
    slide_id
        Part of the annotations' ids.
    kind
        ``tile`` or ``annotation``.
    tile_um
        Side; doubled until there are at most 50,000 squares.

    Returns
    -------
    float
        The side written, micrometres.

    Raises
    ------
    ValueError
        A cell is nowhere or outside the image, or the side is not positive.
    OutputError
        The folder cannot be written.
    """
    if not tile_um > 0:
        raise ValueError(f"tile_um={tile_um} must be positive")
    bins = frame.bins(tile_um)
    counts = bin_cells(points, bins)
    while np.count_nonzero(counts.any(axis=0)) > MOST_TILES:
        tile_um *= 2
        bins = frame.bins(tile_um)
        counts = bin_cells(points, bins)
    rows, cols = np.nonzero(counts.any(axis=0))
    features = [
        _tile(counts[:, row, col], _box_px(bins, frame, row, col), frame, kind)
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    ]
    if kind == "annotation":
        for feature, row, col in zip(features, rows.tolist(), cols.tolist(), strict=True):
            key = f"{slide_id}/tile {tile_um:g} um/{row}/{col}"
            feature["id"] = str(uuid.uuid5(AREA_NAMESPACE, key))
    collection = {"type": "FeatureCollection", "features": features}
    text = json.dumps(collection, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_text_atomic(path, text + "\n")
    return tile_um


def _box_px(
    bins: PlaneFrame, frame: QupathFrame, row: int, col: int
) -> tuple[float, float, float, float]:
    """Corners (x0, y0, x1, y1) of a bin in QuPath's pixels, cut at the image's border."""
    x0, y0 = col * bins.scale_x, row * bins.scale_y
    x1, y1 = min(x0 + bins.scale_x, frame.width), min(y0 + bins.scale_y, frame.height)
    return round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2)


def _tile(
    counts: NDArray[np.uint32],
    box_px: tuple[float, float, float, float],
    frame: QupathFrame,
    kind: TileKind,
) -> dict[str, Any]:
    x0, y0, x1, y1 = box_px
    positive, total = int(counts[0]), int(counts.sum())
    share_pct = 100.0 * positive / total
    measured = area_measurements(index_pct=share_pct, positive=positive, negative=total - positive)
    if frame.mpp is not None:
        area_mm2 = (x1 - x0) * (y1 - y0) * frame.mpp[0] * frame.mpp[1] / 1e6
        measured["AI cells per mm2"] = round(total / area_mm2, 1)
    properties: dict[str, Any] = {"objectType": kind, "measurements": measured}
    if kind == "annotation":
        # of each square, not of a class: a scale of classes would fill the user's class list
        colour = np.rint(index_colour(np.array([share_pct]))[0]).astype(int).tolist()
        properties |= {"name": f"Ki-67 {share_pct:.0f} %", "color": colour, "isLocked": True}
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
