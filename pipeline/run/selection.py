"""Which peaks are counted and in which area: threshold, unreadable tiles, exclusions, region."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.coverage import pixels_in_boxes, points_in_mask
from pipeline.core.points import CellPoints
from pipeline.io.annotations import Roi
from pipeline.run.plan import Plan, Tissue
from pipeline.run.settle import SettledSlide

OUTSIDE_ROI = "outside_roi"
"""Why a peak outside the region of interest is no cell."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredAreas:
    """The tissue mask, split: outside the region, unreadable, excluded, and the rest, analysed."""

    analysed: Mask
    """``(H, W)``, pixels of the plan's overview, as all of them."""
    unreadable: Mask
    excluded: Mapping[str, Mask]
    """Tissue by reason of exclusion; a pixel may have two."""
    outside_roi: Mask | None
    """None without a region of interest."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideCells:
    """What is counted on a slide, and what is not."""

    cells: CellPoints
    candidates: CellPoints
    """Peaks below the threshold, outside the region of interest or in an excluded area."""
    reasons: tuple[str | None, ...]
    """Why a candidate is no cell whatever the threshold; the first is None."""
    reason: NDArray[np.uint8]
    """Row of ``reasons`` of each candidate."""
    areas: ScoredAreas


def select_cells(
    settled: SettledSlide,
    plan: Plan,
    tissue: Tissue,
    *,
    threshold: float,
    excluded: Mapping[str, Mask],
    roi: Roi | None,
) -> SlideCells:
    """Tell cells from candidates and split the tissue's area.

    A cell is a peak at or above the threshold, inside the region of interest (exact on its
    polygon) and in no excluded pixel of the tissue mask.

    Parameters
    ----------
    excluded
        Masks of the tissue mask's shape by reason.
    roi
        None counts everywhere.
    """
    points = settled.points
    reasons: list[str | None] = [None]
    reason = np.zeros(len(points), np.uint8)
    if roi is not None:
        reasons.append(OUTSIDE_ROI)
        reason[~roi.contains(points.x_l0, points.y_l0)] = 1
    for name, mask in excluded.items():
        if mask.any():
            reasons.append(name)
            inside = points_in_mask(points.x_l0, points.y_l0, mask, plan.overview)
            reason[inside & (reason == 0)] = len(reasons) - 1
    # the sum of two masks would be a third copy of all columns: one sort, then two selections
    counted = (points.score >= np.float32(threshold)) & (reason == 0)
    return SlideCells(
        cells=points.take(counted),
        candidates=points.take(~counted),
        reasons=tuple(reasons),
        reason=reason[~counted],
        areas=_split(settled, plan, tissue, excluded, roi),
    )


def _split(
    settled: SettledSlide,
    plan: Plan,
    tissue: Tissue,
    excluded: Mapping[str, Mask],
    roi: Roi | None,
) -> ScoredAreas:
    """Every pixel of tissue by its centre: in the region or not, read or not, excluded or not."""
    rest = tissue.mask.copy()
    outside = None
    if roi is not None:
        row, col = np.nonzero(rest)
        x_l0, y_l0 = plan.overview.to_l0(_centres(col), _centres(row))
        rest[row, col] = roi.contains(x_l0, y_l0)
        outside = tissue.mask & ~rest
    lost = pixels_in_boxes(list(settled.unreadable), plan.frame, rest, plan.overview)
    rest &= ~lost
    by_reason = {name: mask & rest if mask.any() else mask for name, mask in excluded.items()}
    analysed = rest.copy()
    for mask in by_reason.values():
        analysed &= ~mask
    return ScoredAreas(analysed, lost, by_reason, outside)


def _centres(index: NDArray[np.intp]) -> NDArray[np.float64]:
    return index.astype(np.float64) + 0.5
