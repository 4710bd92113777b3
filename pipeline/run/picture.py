"""The overview for people's eyes: fine enough to see tissue on a small slide."""

from pathlib import Path

import numpy as np

from pipeline.core.points import CellPoints
from pipeline.core.qc.judge import Quality
from pipeline.io.pictures import OVERLAY_PX, write_overlay
from pipeline.io.plane import Overview, read_overview
from pipeline.io.quality_picture import QUALITY_PICTURE_NAME, write_quality_picture
from pipeline.io.resolution import Resolution
from pipeline.io.slides import SlideReader
from pipeline.run.plan import Plan, Tissue


def read_picture(
    reader: SlideReader, resolution: Resolution, mask: Overview, *, mpp_um: float, finest_um: float
) -> Overview:
    """Return the mask's overview, or a whole number of times finer where that is a small picture.

    Parameters
    ----------
    mask
        The overview the tissue was found on, of ``mpp_um`` per pixel.
    finest_um
        The model's resolution: a picture shows no more than the network saw.
    """
    room = OVERLAY_PX // max(mask.frame.width, mask.frame.height)
    times = min(room, int(mpp_um / finest_um))
    return mask if times < 2 else read_overview(reader, resolution, mpp_um=mpp_um / times)


def draw_overlay(folder: Path, plan: Plan, tissue: Tissue, cells: CellPoints) -> None:
    """Write overlay.jpg: the picture, the tissue's outline and the cells.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    height, width = tissue.thumbnail.shape[:2]
    times = round(plan.overview.scale_x / plan.picture.scale_x)
    mask = np.repeat(np.repeat(tissue.mask, times, axis=0), times, axis=1)[:height, :width]
    write_overlay(
        folder / "overlay.jpg",
        tissue.thumbnail,
        plan.picture,
        mask=mask,
        points=cells,
        mpp_um=plan.tissue_um_per_px / times,
    )


def draw_quality(folder: Path, plan: Plan, tissue: Tissue, quality: Quality) -> None:
    """Write qc.jpg where something was left out; a slide of which all counts has none.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = folder / QUALITY_PICTURE_NAME
    path.unlink(missing_ok=True)
    near = {name: mask & tissue.near for name, mask in quality.reasons.items()}
    ink = quality.reasons.get("pen")
    if ink is not None:
        near["pen"] = ink  # beside the tissue too: the mask itself leaves it out
    if not any(mask.any() for mask in near.values()):
        return
    height, width = tissue.thumbnail.shape[:2]
    times = round(plan.overview.scale_x / plan.picture.scale_x)
    shown = {
        name: np.repeat(np.repeat(mask, times, axis=0), times, axis=1)[:height, :width]
        for name, mask in near.items()
    }
    write_quality_picture(path, tissue.thumbnail, shown, quality.area_mm2)
