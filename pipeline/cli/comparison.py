"""Cells found on a slide against its known cells: the network and the classical detector."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import SlideSettings
from pipeline.core.classical import CLASSICAL_MPP_UM, CONTEXT_UM, detect_classical
from pipeline.core.matching import Counts, count_matches
from pipeline.core.points import NEGATIVE, POSITIVE, CellPoints
from pipeline.core.scoring import labelling_index_pct
from pipeline.core.tiling import Box
from pipeline.io.plane import SlidePlane, plane_over
from pipeline.io.resolution import resolve_resolution
from pipeline.io.slides import open_slide

MATCH_RADIUS_UM = 3.125
"""10 px of the paper's 512-pixel frame."""
_REGION_PX = 2048


@dataclass(frozen=True, slots=True)
class Figures:
    """What one set of cells is worth against the known cells of its slide.

    F1 are between 0 and 1, None where neither set has a cell; the error of the labelling index is
    found minus known, in percentage points.
    """

    positive: int
    negative: int
    f1_all: float | None
    f1_positive: float | None
    f1_negative: float | None
    index_pct: float | None
    index_error_points: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare(found: CellPoints, known: CellPoints, mpp: tuple[float, float]) -> Figures:
    """Match cells one to one within 3.125 um, once whatever their label and once per label.

    Parameters
    ----------
    found, known
        Cells in level-0 pixels.
    mpp
        Micrometres per level-0 pixel, (x, y).
    """
    index, true_index = _index(found), _index(known)
    both = index is not None and true_index is not None
    return Figures(
        positive=found.positive,
        negative=found.negative,
        f1_all=_matched(found, known, mpp).f1,
        f1_positive=_matched(_labelled(found, POSITIVE), _labelled(known, POSITIVE), mpp).f1,
        f1_negative=_matched(_labelled(found, NEGATIVE), _labelled(known, NEGATIVE), mpp).f1,
        index_pct=index,
        index_error_points=float(index or 0) - float(true_index or 0) if both else None,
    )


def classical_cells(path: Path, settings: SlideSettings) -> CellPoints:
    """Run the classical detector over a whole slide, one region after the other.

    Memory is bounded by a region. The detector has no score: all scores are 1.

    Raises
    ------
    SlideError
        The slide cannot be read.
    """
    margin = math.ceil(CONTEXT_UM / CLASSICAL_MPP_UM)
    parts = []
    with _plane(path, settings) as plane:
        for core in _cores(plane.frame.width, plane.frame.height):
            # beyond the plane there is only white, whose step to glass looks like a row of nuclei
            box = _within(core.grown(margin), plane.frame.width, plane.frame.height)
            x_px, y_px, label = detect_classical(plane.read(box), mpp_um=CLASSICAL_MPP_UM)
            x_px, y_px = x_px + box.x0, y_px + box.y0
            own = (x_px >= core.x0) & (x_px < core.x1) & (y_px >= core.y0) & (y_px < core.y1)
            x_l0, y_l0 = plane.frame.to_l0(x_px[own], y_px[own])
            score = np.ones(len(x_l0), np.float32)
            parts.append(CellPoints(x_l0, y_l0, score, label[own]))
    return CellPoints.concatenate(parts).sorted()


@contextmanager
def _plane(path: Path, settings: SlideSettings) -> Iterator[SlidePlane]:
    reader = open_slide(path, settings.reader)
    try:
        resolution = resolve_resolution(reader, mpp=settings.mpp, assume_mpp=settings.assume_mpp)
        yield SlidePlane(reader, plane_over(reader, resolution, CLASSICAL_MPP_UM))
    finally:
        reader.close()


def _cores(width: int, height: int) -> Iterator[Box]:
    for y0 in range(0, height, _REGION_PX):
        for x0 in range(0, width, _REGION_PX):
            yield Box(x0, y0, min(x0 + _REGION_PX, width), min(y0 + _REGION_PX, height))


def _within(box: Box, width: int, height: int) -> Box:
    return Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height))


def _matched(found: CellPoints, known: CellPoints, mpp: tuple[float, float]) -> Counts:
    return count_matches(_place_um(found, mpp), _place_um(known, mpp), MATCH_RADIUS_UM)


def _place_um(points: CellPoints, mpp: tuple[float, float]) -> NDArray[np.float64]:
    return np.column_stack([points.x_l0 * mpp[0], points.y_l0 * mpp[1]])


def _labelled(points: CellPoints, label: int) -> CellPoints:
    return points.take(points.label == label)


def _index(points: CellPoints) -> float | None:
    return labelling_index_pct(points.positive, len(points))
