"""From region files to the cells of a slide: settled peaks, seams, ties, tissue, threshold."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks, merge_ties
from pipeline.core.coverage import pixels_in_boxes, points_in_mask
from pipeline.core.points import CellPoints
from pipeline.core.seams import settle_seams
from pipeline.core.tiling import Box
from pipeline.run.plan import Plan, Tissue
from pipeline.run.region_file import read_peaks, strips_reader


@dataclass(frozen=True, slots=True, eq=False)
class SlideCells:
    """What was found on a slide."""

    cells: CellPoints
    candidates: CellPoints
    """Peaks below the threshold and above the floor."""
    unreadable: tuple[Box, ...]
    """Cores of tiles whose pixels could not be read, model-frame pixels."""
    analysed: NDArray[np.bool_]
    """The tissue mask without those."""


def settle_slide(work: Path, plan: Plan, tissue: Tissue, *, threshold: float) -> SlideCells:
    """Join the regions of a slide.

    A cell is a peak at or above the threshold whose centre lies in the tissue mask grown by
    ``tissue.margin_um``. Memory grows by the peaks and by two rows of regions' border strips.

    Raises
    ------
    StaleWorkError
        A region file is missing.
    """
    peaks, damaged = _gather(work, plan)
    points = _points(merge_ties(peaks), plan, tissue)
    del peaks
    # the sum of two masks would be a third copy of all columns: one sort, then two selections
    above = points.score >= np.float32(threshold)
    boxes = tuple(plan.grid.lattice.tile(row, col).core for row, col in damaged)
    lost = pixels_in_boxes(list(boxes), plan.frame, tissue.mask, plan.overview)
    return SlideCells(points.take(above), points.take(~above), boxes, tissue.mask & ~lost)


def _gather(work: Path, plan: Plan) -> tuple[Peaks, list[tuple[int, int]]]:
    parts: list[Peaks] = []
    damaged: list[tuple[int, int]] = []
    for index in plan.regions:
        peaks, unreadable = read_peaks(work, plan, index)
        parts.append(peaks)
        damaged += [(int(row), int(col)) for row, col in unreadable]
    seams = settle_seams(plan.grid, strips_reader(work, plan), window=plan.window, floor=plan.floor)
    # tiles in the order of the lattice, whatever the regions were
    return Peaks.concatenate([*parts, seams]), sorted(damaged)


def _points(peaks: Peaks, plan: Plan, tissue: Tissue) -> CellPoints:
    x_l0, y_l0 = plan.frame.to_l0(peaks.x_px, peaks.y_px)
    near = points_in_mask(x_l0, y_l0, tissue.near, plan.overview)
    return CellPoints(x_l0[near], y_l0[near], peaks.score[near], peaks.label[near]).sorted()
