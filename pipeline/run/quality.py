"""Quality control of a run: what regions and the overview measured, joined and judged."""

from pathlib import Path

import numpy as np

from pipeline.config import QcSettings
from pipeline.core.points import CellPoints
from pipeline.core.qc.bins import MEASURES, BinLayout, bin_side
from pipeline.core.qc.judge import MeasuredSlide, Quality, judge
from pipeline.run.plan import Plan, Tissue, read_look
from pipeline.run.region_file import read_measures


def slide_quality(
    work: Path, plan: Plan, tissue: Tissue, cells: CellPoints, config: QcSettings
) -> Quality:
    """Judge a slide whose regions are all done.

    Parameters
    ----------
    cells
        Every cell above the threshold, those in areas that will be left out included.

    Raises
    ------
    StaleWorkError
        A region file is missing.
    """
    return judge(measured_slide(work, plan, tissue), cells, config)


def measured_slide(work: Path, plan: Plan, tissue: Tissue) -> MeasuredSlide:
    """Join the measures of all regions; the regions' size and order change nothing.

    Raises
    ------
    StaleWorkError
        A region file is missing.
    """
    grid = plan.grid
    layout = BinLayout(plan.frame, bin_side(grid.lattice.square, plan.mpp_um))
    side = grid.side // layout.bin_px
    values = np.full((len(MEASURES), grid.rows * side, grid.cols * side), np.nan, np.float32)
    for index in plan.regions:
        row, col = divmod(index, grid.cols)
        measures = read_measures(work, plan, index)
        rows, cols = slice(row * side, (row + 1) * side), slice(col * side, (col + 1) * side)
        values[:, rows, cols] = measures
    return MeasuredSlide(
        values=np.ascontiguousarray(values[:, : layout.rows, : layout.cols]),
        layout=layout,
        overview=read_look(work),
        tissue=tissue.mask,
        over=plan.overview,
        um_per_px=plan.tissue_um_per_px,
    )
