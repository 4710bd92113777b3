"""Exports of a slide that was scored, made from its result files alone: no slide, no model."""

from pathlib import Path

from pipeline.core.frame import PlaneFrame
from pipeline.errors import OutputError
from pipeline.io.cells import read_cells
from pipeline.io.cells_text import write_cells_table
from pipeline.io.density import write_density
from pipeline.io.heatmap import copy_heatmap, read_plan
from pipeline.io.ome import HeatmapPlan, OmeZarrVersion
from pipeline.io.ome_tiff import write_ome_tiff
from pipeline.io.score import ScoreRecord

HEATMAP_NAME = "heatmap.ome.zarr"


def export_csv(out: Path, record: ScoreRecord, folder: Path) -> Path:
    """Write ``<slide_id>.cells.csv.gz``: level-0 pixels, micrometres, label, score.

    Raises
    ------
    OutputError
        The cells are damaged, their micrometres are unknown, or the folder cannot be written.
    """
    mpp = record.slide.mpp
    if mpp is None:
        raise OutputError(f"{record.slide.id}: score.json holds no mpp; run `ki67 run` again")
    path = folder / f"{record.slide.id}.cells.csv.gz"
    write_cells_table(path, read_cells(_slide(out, record) / "cells.parquet"), mpp=mpp)
    return path


def export_zarr(
    out: Path, record: ScoreRecord, folder: Path, *, ome_zarr: OmeZarrVersion = "0.5"
) -> Path:
    """Write ``<slide_id>.heatmap.ome.zarr`` and ``<slide_id>.density``; return the heatmap.

    Raises
    ------
    OutputError
        Heatmap or cells are missing or damaged, or the folder cannot be written.
    """
    source, path = _slide(out, record), folder / f"{record.slide.id}.heatmap.ome.zarr"
    copy_heatmap(source / HEATMAP_NAME, path, ome_zarr)
    plan = read_plan(source / HEATMAP_NAME)
    write_density(
        folder / f"{record.slide.id}.density",
        read_cells(source / "cells.parquet"),
        frame=plane_of(plan),
        mpp_um=plan.mpp_um,
        ome_zarr=ome_zarr,
    )
    return path


def export_ome_tiff(out: Path, record: ScoreRecord, folder: Path) -> Path:
    """Write ``<slide_id>.response.ome.tiff``.

    Raises
    ------
    OutputError
        The heatmap is missing, or the folder cannot be written.
    """
    path = folder / f"{record.slide.id}.response.ome.tiff"
    write_ome_tiff(_slide(out, record) / HEATMAP_NAME, path)
    return path


def has_heatmap(out: Path, record: ScoreRecord) -> bool:
    """Tell whether a slide has a heatmap; one without tissue has none."""
    return (_slide(out, record) / HEATMAP_NAME).is_dir()


def plane_of(plan: HeatmapPlan) -> PlaneFrame:
    """Frame of the model plane that a heatmap was made on."""
    (origin_x, origin_y), (mpp_x, mpp_y) = plan.origin_um, plan.slide_mpp_um
    return PlaneFrame(
        round(origin_x / mpp_x),
        round(origin_y / mpp_y),
        plan.mpp_um / mpp_x,
        plan.mpp_um / mpp_y,
        plan.plane_width,
        plan.plane_height,
    )


def _slide(out: Path, record: ScoreRecord) -> Path:
    return out / "slides" / record.slide.id
