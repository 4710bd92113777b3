"""From region files to the peaks of a slide: settled, seams and ties joined, near tissue only."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.ccls import Peaks, merge_ties
from pipeline.core.coverage import points_in_mask
from pipeline.core.points import CellPoints
from pipeline.core.seams import settle_seams
from pipeline.core.tiling import Box
from pipeline.run.plan import Plan, Tissue
from pipeline.run.region_file import StoredRegion, strips_reader


@dataclass(frozen=True, slots=True, eq=False)
class SettledSlide:
    """What prediction left of a slide: all that scores are made from, besides its areas."""

    points: CellPoints
    """Every peak above the floor near tissue, sorted; cells are those above the threshold."""
    unreadable: tuple[Box, ...]
    """Squares of tiles whose pixels could not be read, model-frame pixels."""


def settle_slide(
    work: Path, plan: Plan, tissue: Tissue, regions: Sequence[StoredRegion]
) -> SettledSlide:
    """Join the regions of a slide.

    A peak is kept when its centre lies in the tissue mask grown by ``tissue.margin_um``. Memory
    grows by the peaks and by one band of border strips across the slide.

    Raises
    ------
    StaleWorkError
        A region file is missing.
    """
    peaks, damaged = _gather(work, plan, regions)
    points = _points(merge_ties(peaks), plan, tissue)
    squares = plan.grid.lattice.squares
    boxes = tuple(squares.tile(row, col).core for row, col in damaged)
    return SettledSlide(points, boxes)


def _gather(
    work: Path, plan: Plan, regions: Sequence[StoredRegion]
) -> tuple[Peaks, list[tuple[int, int]]]:
    damaged = [(int(row), int(col)) for region in regions for row, col in region.unreadable]
    undecided = Peaks.concatenate([region.undecided for region in regions])
    seams = settle_seams(plan.grid, undecided, strips_reader(work, plan), window=plan.window)
    # tiles in the order of the lattice, whatever the regions were
    return Peaks.concatenate([*(region.peaks for region in regions), seams]), sorted(damaged)


def _points(peaks: Peaks, plan: Plan, tissue: Tissue) -> CellPoints:
    x_l0, y_l0 = plan.frame.to_l0(peaks.x_px, peaks.y_px)
    near = points_in_mask(x_l0, y_l0, tissue.near, plan.overview)
    return CellPoints(x_l0[near], y_l0[near], peaks.score[near], peaks.label[near]).sorted()
