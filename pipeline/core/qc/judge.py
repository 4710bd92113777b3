"""The quality of a slide: areas left out by reason, flags, and the numbers behind both."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import QcSettings
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.core.qc.bins import BinLayout
from pipeline.core.qc.flags import slide_flags, slide_measures
from pipeline.core.qc.look import OverviewQuality
from pipeline.core.qc.measures import F32, Mask
from pipeline.core.qc.rules import BinValues, suspected_bins


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredSlide:
    """Everything quality is judged from: small, kept with the results, no pixels.

    Attributes
    ----------
    values
        float32 ``(len(MEASURES), rows, cols)`` of the layout's bins, NaN where none was read.
    layout
        The bins.
    overview
        What the overview showed.
    tissue
        ``(H, W)`` bool, pixels of ``over``.
    over
        The frame of the tissue mask.
    um_per_px
        Of the tissue mask.
    """

    values: F32
    layout: BinLayout
    overview: OverviewQuality
    tissue: Mask
    over: PlaneFrame
    um_per_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """What was judged.

    Attributes
    ----------
    excluded
        ``(H, W)`` bool in the frame of the tissue mask: where no cell counts. It reaches beyond
        the tissue: for areas take ``excluded & tissue``.
    reasons
        The same by reason; every reason that is not switched off is there.
    flags
        Names for score.json, in a fixed order.
    measures
        Slide-level numbers by name, all finite.
    area_mm2
        Tissue left out, by reason; reasons may overlap.
    """

    excluded: Mask
    reasons: Mapping[str, Mask]
    flags: tuple[str, ...]
    measures: Mapping[str, float]
    area_mm2: Mapping[str, float]


def judge(slide: MeasuredSlide, cells: CellPoints, rules: QcSettings) -> Quality:
    """Judge a slide from its measures and its cells, those in excluded areas included."""
    if not rules.enabled:
        return Quality(np.zeros_like(slide.tissue), {}, (), {}, {})
    bins = BinValues(slide.values)
    share = slide.layout.share(slide.tissue, slide.over)
    suspected = suspected_bins(bins, share, rules)
    left_out: dict[str, Mask] = {
        name: mask for name, mask in suspected.items() if name in rules.exclude
    }
    # most reasons apply nowhere: they share one mask
    nowhere = np.zeros_like(slide.tissue)
    nowhere.flags.writeable = False
    reasons = {
        name: slide.layout.spread(mask, slide.over) if mask.any() else nowhere
        for name, mask in left_out.items()
    }
    if "pen" in reasons:
        reasons["pen"] = reasons["pen"] | slide.overview.ink
    excluded = np.zeros_like(slide.tissue)
    for mask in reasons.values():
        excluded |= mask
    px_mm2 = slide.um_per_px**2 / 1e6
    area_mm2 = {
        name: float(np.count_nonzero(mask & slide.tissue)) * px_mm2
        for name, mask in reasons.items()
    }
    pigment = slide.layout.spread(suspected["pigment"], slide.over)
    kept = bins.measured & ~_any(left_out, bins.measured)
    tissue_mm2 = float(np.count_nonzero(slide.tissue)) * px_mm2
    positive, negative = counted_by_label(slide.layout, cells)
    measures = slide_measures(bins, share, kept, positive, negative) | {
        "edge_um": slide.overview.edge_um,
        "mask_agreement": slide.overview.mask_agreement,
        "ink_mm2": float(np.count_nonzero(slide.overview.ink)) * px_mm2,
        "pigment_mm2": float(np.count_nonzero(pigment & slide.tissue)) * px_mm2,
    }
    flags = slide_flags(measures, area_mm2, tissue_mm2, rules)
    return Quality(excluded, reasons, flags, measures, area_mm2)


def counted_by_label(
    layout: BinLayout, cells: CellPoints
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positive and negative cells of each bin."""
    positive = cells.label == POSITIVE
    return (
        layout.counted(cells.x_l0[positive], cells.y_l0[positive]),
        layout.counted(cells.x_l0[~positive], cells.y_l0[~positive]),
    )


def _any(masks: Mapping[str, Mask], like: Mask) -> Mask:
    found = np.zeros_like(like)
    for mask in masks.values():
        found |= mask
    return found
