"""From measures of bins to what is left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.config import QcSettings
from pipeline.core.qc.bins import MEASURES
from pipeline.core.qc.measures import F32, Mask

REASONS = ("out_of_focus", "pen", "fold", "debris", "pigment")
"""Why a bin is left out; a bin may have several."""

EIGHT = np.ones((3, 3), bool)
LEAST_TISSUE = 0.2
"""Bins with less tissue are judged by none of the rules but those of ink and dirt."""
HALF_TISSUE = 0.5
"""Bins with less tissue start no area out of focus: the border of tissue is thin and smooth."""
MOST_INK = 0.2
"""Share of ink from which a bin says nothing of the tissue's density."""
FOLD_LENGTH_BINS = 4
"""A fold is at least so long, 256 um."""
FOLD_WIDTH_BINS = 4
"""A fold is on average no wider; layers of an epithelium and lymph follicles are."""
FOLD_SURE_SHARE = 0.25
"""Of a fold's bins; dense tissue of one layer has a dark nucleus only here and there."""


@dataclass(frozen=True, slots=True, eq=False)
class BinValues:
    """Measures of a slide's bins by name, ``(rows, cols)`` each, NaN where no tile was read."""

    values: F32

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or len(self.values) != len(MEASURES):
            raise ValueError(f"measures {self.values.shape} are not ({len(MEASURES)}, rows, cols)")

    def __getitem__(self, name: str) -> F32:
        return np.asarray(self.values[MEASURES.index(name)])

    @property
    def measured(self) -> Mask:
        """Bins whose pixels were read."""
        return np.asarray(np.isfinite(self["tissue"]))


@dataclass(frozen=True, slots=True, eq=False)
class Suspicion:
    """Bins that surely show an artefact, and bins that do if they touch one of those."""

    sure: Mask
    likely: Mask


def excluded_bins(bins: BinValues, share: F32, rules: QcSettings) -> Mapping[str, Mask]:
    """Bins to leave out by reason, of the reasons that ``rules.exclude`` names.

    Parameters
    ----------
    share
        ``(rows, cols)``: share of each bin that the tissue mask holds.
    """
    found = suspected_bins(bins, share, rules)
    return {reason: found[reason] for reason in REASONS if reason in rules.exclude}


def suspected_bins(bins: BinValues, share: F32, rules: QcSettings) -> Mapping[str, Mask]:
    """Bins that show an artefact, for every reason there is."""
    suspicions = {
        "out_of_focus": _out_of_focus(bins, rules),
        "pen": _above(bins["ink"], rules.pen_share, 0.3 * rules.pen_share),
        "fold": _fold(bins, share, rules),
        "debris": _above(bins["dark"], rules.debris_share, 0.25 * rules.debris_share),
        "pigment": _pigment(bins, rules),
    }
    found = {reason: settled(suspicions[reason], least_bins=rules.min_bins) for reason in REASONS}
    found["fold"] = folds(found["fold"], suspicions["fold"].sure)
    return found


def settled(suspicion: Suspicion, *, least_bins: int) -> Mask:
    """Grow sure bins through likely ones that touch; drop groups of fewer than ``least_bins``.

    One noisy bin alone so is never left out, and an artefact keeps its pale rim.
    """
    likely = suspicion.likely | suspicion.sure
    grown = ndimage.binary_propagation(suspicion.sure, structure=EIGHT, mask=likely)
    labels, number = ndimage.label(grown, structure=EIGHT)
    large = np.bincount(labels.ravel(), minlength=number + 1) >= least_bins
    large[0] = False
    return np.asarray(large[labels])


def folds(mask: Mask, sure: Mask) -> Mask:
    """Groups of bins that are long and thin and surely dense in a good part."""
    labels, number = ndimage.label(mask, structure=EIGHT)
    keep = np.zeros(number + 1, bool)
    for group, place in enumerate(ndimage.find_objects(labels), start=1):
        length = max(part.stop - part.start for part in place)
        inside = labels[place] == group
        count = np.count_nonzero(inside)
        keep[group] = (
            length >= FOLD_LENGTH_BINS
            and count <= FOLD_WIDTH_BINS * length
            and np.count_nonzero(inside & sure[place]) >= FOLD_SURE_SHARE * count
        )
    return np.asarray(keep[labels])


def normal_floor(bins: BinValues, share: F32) -> float:
    """Density between nuclei that most of the slide's tissue has; 0 without tissue."""
    tissue = _plain(bins, share)
    return float(np.median(bins["floor"][tissue])) if tissue.any() else 0.0


def _out_of_focus(bins: BinValues, rules: QcSettings) -> Suspicion:
    tissue = bins["tissue"] > LEAST_TISSUE
    sharpness, detail = bins["sharpness"], bins["detail"]
    seen = detail > rules.detail_min
    within = bins["tissue"] > HALF_TISSUE
    sure = within & seen & (sharpness < rules.sharpness_min)
    # where nothing is seen sharpness is of noise: such a bin goes with its neighbours
    likely = tissue & ((sharpness < 1.06 * rules.sharpness_min) | ~seen)
    return Suspicion(sure, likely)


def _fold(bins: BinValues, share: F32, rules: QcSettings) -> Suspicion:
    """Two or three layers are denser between nuclei and in nuclei; packed cells only between."""
    normal = max(normal_floor(bins, share), rules.fold_floor_min)
    dense = _above(bins["floor"], rules.fold_factor * normal, 0.7 * rules.fold_factor * normal)
    usual = _usual_nuclei(bins, share)
    nuclei = bins["haematoxylin"]
    clear = bins["ink"] <= MOST_INK
    return Suspicion(
        np.asarray(clear & dense.sure & (nuclei >= rules.fold_nuclei_factor * usual)),
        np.asarray(clear & dense.likely & (nuclei >= 0.8 * rules.fold_nuclei_factor * usual)),
    )


def _plain(bins: BinValues, share: F32) -> Mask:
    """Bins of tissue with next to no ink, whose density is the tissue's own."""
    return np.asarray(bins.measured & (share > 0.5) & (bins["ink"] <= MOST_INK))


def _usual_nuclei(bins: BinValues, share: F32) -> float:
    """Density of nuclei where the slide has many of them; 0 without tissue."""
    tissue = _plain(bins, share)
    return float(np.percentile(bins["haematoxylin"][tissue], 75)) if tissue.any() else 0.0


def _pigment(bins: BinValues, rules: QcSettings) -> Suspicion:
    not_nuclei = bins["granular"] + bins["slab"]
    return _above(not_nuclei, rules.pigment_share, 0.7 * rules.pigment_share)


def _above(value: NDArray[np.float32], sure: float, likely: float) -> Suspicion:
    return Suspicion(np.asarray(value >= sure), np.asarray(value >= likely))
