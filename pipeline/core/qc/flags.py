"""Flags: what a reader of the score has to know, from slide-level numbers and limits."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.config import QcSettings
from pipeline.core.qc.measures import F32, Mask
from pipeline.core.qc.rules import BinValues, normal_floor

FLAGS = (
    "not_ki67_like",
    "no_haematoxylin",
    "no_dab",
    "understained",
    "overstained",
    "blurred",
    "pen",
    "fold",
    "debris",
    "pigment",
    "tissue_at_edge",
    "mask_disagreement",
    "classical_disagreement",
)
"""Every flag of quality control, in the order they are given."""

_OF_REASON = {
    "blurred": "out_of_focus",
    "pen": "pen",
    "fold": "fold",
    "debris": "debris",
}


def slide_measures(
    bins: BinValues,
    share: F32,
    kept: Mask,
    positive: NDArray[np.int64],
    negative: NDArray[np.int64],
) -> dict[str, float]:
    """Slide-level numbers over the bins that are kept and mostly tissue.

    Parameters
    ----------
    share
        Share of each bin that the tissue mask holds.
    kept
        Bins that were read and are not left out.
    positive, negative
        Cells of the network in each bin.
    """
    use = kept & (share > 0.5) & (bins["tissue"] > 0.2)
    measures = {"bins": float(np.count_nonzero(use))}
    if not use.any():
        return measures
    weight = bins["tissue"][use].astype(np.float64)
    stained = bins["haematoxylin"][use].astype(np.float64)
    classical = [bins[f"classical_{name}"][use].sum() for name in ("positive", "negative")]
    network = [positive[use].sum(), negative[use].sum()]
    measures |= {
        "pink_share": float((bins["pink"][use] * weight).sum() / weight.sum()),
        "brown_share": float(bins["brown"][use].sum() / weight.sum()),
        # cells stand in a part of the tissue only
        "haematoxylin_od": float(np.percentile(stained, 75)),
        "floor_od": normal_floor(bins, share),
        "sharpness": float(np.median(bins["sharpness"][use])),
        "classical_cells": float(sum(classical)),
        "network_cells": float(sum(network)),
    }
    for name, (one, other) in (("classical", classical), ("network", network)):
        if one + other:
            measures[f"{name}_index_pct"] = float(100 * one / (one + other))
    return measures


def slide_flags(
    measures: Mapping[str, float],
    area_mm2: Mapping[str, float],
    tissue_mm2: float,
    rules: QcSettings,
) -> tuple[str, ...]:
    """Names of the flags that are raised."""
    if tissue_mm2 <= 0:
        return ()
    raised = _stain_flags(measures, rules)
    for flag, reason in _OF_REASON.items():
        if 100 * area_mm2.get(reason, 0.0) >= rules.flag_area_pct * tissue_mm2:
            raised.add(flag)
    # it is told of even where it is not left out
    if 100 * measures["pigment_mm2"] >= rules.flag_area_pct * tissue_mm2:
        raised.add("pigment")
    if measures["ink_mm2"] >= rules.ink_mm2 and "pen" in rules.exclude:
        raised.add("pen")
    if measures["edge_um"] >= rules.edge_um:
        raised.add("tissue_at_edge")
    if measures["mask_agreement"] < rules.mask_agreement_min:
        raised.add("mask_disagreement")
    if _disagree(measures, rules):
        raised.add("classical_disagreement")
    return tuple(flag for flag in FLAGS if flag in raised)


def _stain_flags(measures: Mapping[str, float], rules: QcSettings) -> set[str]:
    """Flags of the colours; none where no tissue was measured."""
    if "pink_share" not in measures:
        return set()
    stain = measures["haematoxylin_od"]
    raised = {
        "not_ki67_like": measures["pink_share"] > rules.pink_share_max,
        "no_haematoxylin": stain < rules.haematoxylin_none,
        "no_dab": measures["brown_share"] < rules.brown_share_min,
        "understained": rules.haematoxylin_none <= stain < rules.haematoxylin_min,
        "overstained": stain > rules.haematoxylin_max or measures["floor_od"] > rules.floor_max,
    }
    return {flag for flag, holds in raised.items() if holds}


def _disagree(measures: Mapping[str, float], rules: QcSettings) -> bool:
    """The two methods' indices are far apart, on enough cells of both."""
    fewest = min(measures.get("classical_cells", 0), measures.get("network_cells", 0))
    if fewest < rules.classical_min_cells:
        return False
    apart = measures["classical_index_pct"] - measures["network_index_pct"]
    return abs(apart) > rules.classical_points
