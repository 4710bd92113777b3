"""What is drawn of a scored slide in areas.geojson: where cells were counted and where not."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.scoring import labelling_index_pct
from pipeline.core.tiling import Box
from pipeline.io.areas import (
    Area,
    area_measurements,
    boxes_outline,
    excluded_area,
    hotspot_area,
    mask_outline,
    write_areas,
)
from pipeline.io.roi import MaskImage, Roi
from pipeline.io.score import ScoreRecord
from pipeline.run.basis import SlideBasis
from pipeline.run.plan import Plan
from pipeline.run.scoring import mask_mm2
from pipeline.run.selection import SlideCells

AREAS_NAME = "areas.geojson"


def draw_areas(
    folder: Path,
    slide_id: str,
    basis: SlideBasis,
    found: SlideCells,
    score: ScoreRecord,
    roi: Roi | None,
    metadata: Mapping[str, str],
) -> None:
    """Write tissue, analysed area, region of interest, exclusions, damage and hotspots.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    x_l0, y_l0, width, height = basis.plan.slide.bounds
    areas = [
        *_masks(basis, found, metadata),
        *_unreadable(basis, metadata),
        *_region(basis, roi, metadata),
        *_hotspots(basis, score, metadata),
    ]
    write_areas(
        folder / AREAS_NAME,
        areas,
        slide_id=slide_id,
        offset_x_l0=x_l0,
        offset_y_l0=y_l0,
        size_px=(width, height),
    )


def _masks(basis: SlideBasis, found: SlideCells, metadata: Mapping[str, str]) -> Iterator[Area]:
    cells, areas, over = found.cells, found.areas, basis.plan.overview
    numbers = area_measurements(
        index_pct=labelling_index_pct(cells.positive, len(cells)),
        positive=cells.positive,
        negative=cells.negative,
        area_mm2=mask_mm2(areas.analysed, basis),
    )
    named = (
        ("Tissue", "tissue", basis.tissue.mask, _size(basis.tissue.mask, basis)),
        ("Analysed area", "analysed", areas.analysed, numbers),
    )
    for name, kind, mask, measurements in named:
        if mask.any():
            yield Area(name, kind, mask_outline(mask, over), measurements, metadata)
    for reason, mask in areas.excluded.items():
        if mask.any():
            outline = mask_outline(mask, over)
            yield excluded_area(reason, outline, measurements=_size(mask, basis), metadata=metadata)


def _unreadable(basis: SlideBasis, metadata: Mapping[str, str]) -> Iterator[Area]:
    boxes = basis.settled.unreadable
    if boxes:
        outline = boxes_outline([_box_l0(basis.plan, box) for box in boxes])
        yield Area("Unreadable tiles", "unreadable", outline, {}, metadata)


def _region(basis: SlideBasis, roi: Roi | None, metadata: Mapping[str, str]) -> Iterator[Area]:
    if roi is None:
        return
    words = {**metadata, "roi": roi.name}
    if isinstance(roi.include, MaskImage):
        over = basis.plan.overview
        row, col = np.mgrid[: over.height, : over.width]
        x_l0, y_l0 = over.to_l0(col.ravel() + 0.5, row.ravel() + 0.5)
        inside = roi.contains(x_l0, y_l0).reshape(over.height, over.width)
        if inside.any():
            yield Area("Region of interest", "roi", mask_outline(inside, over), {}, words)
        return
    if roi.include is not None:
        yield Area("Region of interest", "roi", roi.include, {}, words)
    if roi.exclude is not None:
        yield excluded_area("drawn", roi.exclude, measurements={}, metadata=words)


def _hotspots(basis: SlideBasis, score: ScoreRecord, metadata: Mapping[str, str]) -> Iterator[Area]:
    for spot in score.hotspots:
        yield hotspot_area(
            rank=spot.rank,
            x_l0=spot.x_l0,
            y_l0=spot.y_l0,
            radius_um=spot.radius_um,
            mpp=basis.plan.slide.mpp,
            measurements=area_measurements(
                index_pct=spot.index_pct,
                positive=spot.positive,
                negative=spot.cells - spot.positive,
            ),
            metadata=metadata,
        )


def _size(mask: NDArray[np.bool_], basis: SlideBasis) -> dict[str, float]:
    return area_measurements(area_mm2=mask_mm2(mask, basis))


def _box_l0(plan: Plan, box: Box) -> tuple[float, float, float, float]:
    x_px, y_px = np.array([box.x0, box.x1], float), np.array([box.y0, box.y1], float)
    (x0, x1), (y0, y1) = plan.frame.to_l0(x_px, y_px)
    return float(x0), float(y0), float(x1), float(y1)
