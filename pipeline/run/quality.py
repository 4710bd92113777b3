"""Quality control of a run: what regions and the overview measured, joined."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.core.qc.bins import MEASURES, BinLayout
from pipeline.core.qc.judge import MeasuredSlide
from pipeline.run.plan import Plan, Tissue, read_look
from pipeline.run.region_file import StoredRegion


def measured_slide(
    work: Path, plan: Plan, tissue: Tissue, regions: Sequence[StoredRegion]
) -> MeasuredSlide:
    """Join the measures of all regions; the regions' size and order change nothing."""
    grid = plan.grid
    layout = BinLayout(plan.frame, plan.square_px)
    side = grid.side // layout.bin_px
    values = np.full((len(MEASURES), grid.rows * side, grid.cols * side), np.nan, np.float32)
    for region in regions:
        row, col = divmod(region.index, grid.cols)
        rows, cols = slice(row * side, (row + 1) * side), slice(col * side, (col + 1) * side)
        values[:, rows, cols] = region.measures
    return MeasuredSlide(
        values=np.ascontiguousarray(values[:, : layout.rows, : layout.cols]),
        layout=layout,
        overview=read_look(work),
        tissue=tissue.mask,
        over=plan.overview,
        um_per_px=plan.tissue_um_per_px,
    )
