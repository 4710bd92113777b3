"""The result files of one slide besides its score."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.scoring import labelling_index_pct
from pipeline.core.tiling import Box
from pipeline.io.areas import Area, area_measurements, boxes_outline, mask_outline, write_areas
from pipeline.io.cells import write_cells, write_cells_geojson
from pipeline.io.crops import CROPS_NAME, choose_crops, write_crops
from pipeline.io.density import write_density
from pipeline.io.heatmap import finish_heatmap
from pipeline.io.plane import SlidePlane
from pipeline.io.slides import open_slide
from pipeline.model.card import ModelCard
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.picture import draw_overlay
from pipeline.run.plan import HEATMAP_NAME, Plan, Tissue
from pipeline.run.settle import SlideCells


def write_outputs(
    job: SlideJob, card: ModelCard, plan: Plan, tissue: Tissue, found: SlideCells
) -> None:
    """Write cells, areas, maps and pictures; the same results give the same bytes.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    folder, (x_l0, y_l0, width, height) = job.folder, plan.slide.bounds
    metadata = _metadata(job, card, plan)
    write_cells(folder / "cells.parquet", found.cells, metadata)
    write_cells(folder / "candidates.parquet", found.candidates, metadata)
    write_cells_geojson(
        folder,
        found.cells,
        offset_x_l0=x_l0,
        offset_y_l0=y_l0,
        radius_px=card.nms_radius_um / plan.slide.mpp[0],
    )
    write_areas(
        folder / "areas.geojson",
        _areas(plan, tissue, found, metadata),
        slide_id=job.slide_id,
        offset_x_l0=x_l0,
        offset_y_l0=y_l0,
        size_px=(width, height),
    )
    finish_heatmap(folder / HEATMAP_NAME)
    write_density(
        folder / "density",
        found.cells,
        frame=plan.frame,
        mpp_um=card.mpp_um,
        ome_zarr=job.config.heatmap.ome_zarr,
    )
    draw_overlay(folder, plan, tissue, found.cells)
    _write_crops(job, card, plan, found)


def _write_crops(job: SlideJob, card: ModelCard, plan: Plan, found: SlideCells) -> None:
    """A few places at the network's resolution; one that is damaged is left out."""
    # the slide's own content chooses the random ones: every run shows the same
    seed = int(plan.slide.fingerprint[-8:], 16)
    chosen = choose_crops(found.cells, plan.frame, seed=seed)
    if not chosen:
        return
    reader = open_slide(Path(job.path), plan.slide.reader)
    try:
        write_crops(
            job.folder / CROPS_NAME,
            SlidePlane(reader, plan.frame).read,
            chosen,
            frame=plan.frame,
            points=found.cells,
            mpp_um=card.mpp_um,
        )
    finally:
        reader.close()


def _areas(plan: Plan, tissue: Tissue, found: SlideCells, metadata: dict[str, str]) -> list[Area]:
    cells = found.cells
    numbers = area_measurements(
        index_pct=labelling_index_pct(cells.positive, len(cells)),
        positive=cells.positive,
        negative=cells.negative,
        area_mm2=_mm2(found.analysed, plan),
    )
    size = area_measurements(area_mm2=_mm2(tissue.mask, plan))
    named = (
        ("Tissue", "tissue", tissue.mask, size),
        ("Analysed area", "analysed", found.analysed, numbers),
    )
    areas = [
        Area(name, kind, mask_outline(mask, plan.overview), measurements, metadata)
        for name, kind, mask, measurements in named
        if mask.any()
    ]
    if found.unreadable:
        outline = boxes_outline([_box_l0(plan, box) for box in found.unreadable])
        areas.append(Area("Unreadable tiles", "unreadable", outline, {}, metadata))
    return areas


def _box_l0(plan: Plan, box: Box) -> tuple[float, float, float, float]:
    x_px, y_px = np.array([box.x0, box.x1], float), np.array([box.y0, box.y1], float)
    (x0, x1), (y0, y1) = plan.frame.to_l0(x_px, y_px)
    return float(x0), float(y0), float(x1), float(y1)


def _mm2(mask: NDArray[np.bool_], plan: Plan) -> float:
    return float(np.count_nonzero(mask)) * plan.tissue_um_per_px**2 / 1e6


def _metadata(job: SlideJob, card: ModelCard, plan: Plan) -> dict[str, str]:
    """What each table says of itself; nothing that differs between two runs."""
    return {
        "slide_id": job.slide_id,
        "slide_fingerprint": plan.slide.fingerprint,
        "mpp": " ".join(str(value) for value in plan.slide.mpp),
        "mpp_source": plan.slide.mpp_source,
        "weights": card.name,
        "weights_sha256": job.weights_sha256,
        "threshold": str(CellRule.of(job.config, card).threshold),
        "floor": str(plan.floor),
        "units": "level-0 pixels, pixel centres at +0.5",
    }
