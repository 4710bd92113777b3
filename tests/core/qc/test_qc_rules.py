"""Rules: hysteresis and least area, flags by their limits, stains told apart by their hue."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.config import QcSettings
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.core.qc.bins import MEASURES, BinLayout
from pipeline.core.qc.flags import FLAGS, slide_flags
from pipeline.core.qc.judge import MeasuredSlide, judge
from pipeline.core.qc.look import OverviewQuality
from pipeline.core.qc.rules import (
    REASONS,
    BinValues,
    Suspicion,
    excluded_bins,
    settled,
    suspected_bins,
)

GOOD = {
    "tissue": 0.9,
    "sharpness": 0.5,
    "detail": 300.0,
    "density": 0.35,
    "floor": 0.2,
    "haematoxylin": 0.25,
    "brown": 0.05,
}
GOOD_SLIDE = {
    "pink_share": 0.01,
    "brown_share": 0.05,
    "haematoxylin_od": 0.25,
    "floor_od": 0.2,
    "edge_um": 0.0,
    "mask_agreement": 0.9,
    "ink_mm2": 0.0,
    "pigment_mm2": 0.0,
}
RULES = QcSettings()


def values(side: int = 8, **given: float) -> np.ndarray:
    found = GOOD | given
    planes = [np.full((side, side), found.get(name, 0.0), np.float32) for name in MEASURES]
    return np.stack(planes)


def slide(measures: np.ndarray, *, ink: bool = False) -> MeasuredSlide:
    side = measures.shape[1]
    over = PlaneFrame(0, 0, 16.0, 16.0, 8 * side, 8 * side)
    tissue = np.ones((8 * side, 8 * side), bool)
    look = OverviewQuality((255.0, 255.0, 255.0), tissue & ink, 0.0, 1.0)
    layout = BinLayout(PlaneFrame(0, 0, 1.0, 1.0, 128 * side, 128 * side), 128)
    return MeasuredSlide(measures, layout, look, tissue, over, 8.0)


masks = hnp.arrays(bool, (9, 9))


@given(sure=masks, likely=masks, least=st.integers(1, 5))
def test_only_sure_bins_and_likely_ones_that_touch_are_left_out(
    sure: np.ndarray, likely: np.ndarray, least: int
) -> None:
    found = settled(Suspicion(sure, likely), least_bins=least)
    assert not (found & ~(sure | likely)).any()
    if least == 1:
        assert (found >= sure).all()


def test_a_single_noisy_bin_is_kept() -> None:
    bins = values()
    bins[MEASURES.index("sharpness"), 3, 3] = 0.1
    bins[MEASURES.index("floor"), 5, 1] = 3.0
    found = excluded_bins(BinValues(bins), np.ones((8, 8), np.float32), RULES)
    assert not any(mask.any() for mask in found.values())


@pytest.mark.parametrize(
    ("reason", "measures"),
    [
        ("out_of_focus", {"sharpness": 0.26}),
        ("pen", {"ink": 0.9}),
        ("fold", {"floor": 0.6, "haematoxylin": 0.4}),
        ("debris", {"dark": 0.6}),
        ("pigment", {"granular": 0.06, "brown": 0.3}),
    ],
)
def test_a_group_of_bad_bins_is_left_out_for_its_reason(
    reason: str, measures: Mapping[str, float]
) -> None:
    bins = values()
    for name, value in measures.items():
        bins[MEASURES.index(name), 2:6, 2:4] = value
    found = suspected_bins(BinValues(bins), np.ones((8, 8), np.float32), RULES)
    expected = np.zeros((8, 8), bool)
    expected[2:6, 2:4] = True
    for name in REASONS:
        assert np.array_equal(found[name], expected if name == reason else ~expected & False)


def fold_like(rows: slice, cols: slice, **measures: float) -> bool:
    bins = values(16)
    for name, value in measures.items():
        bins[MEASURES.index(name), rows, cols] = value
    found = suspected_bins(BinValues(bins), np.ones((16, 16), np.float32), RULES)
    return bool(found["fold"].any())


def test_packed_cells_of_one_layer_are_no_fold() -> None:
    line = slice(2, 10), slice(3, 5)
    assert fold_like(*line, floor=0.6, haematoxylin=0.4)
    assert not fold_like(*line, floor=0.6, haematoxylin=0.27)


def test_a_dense_field_is_no_fold() -> None:
    assert fold_like(slice(2, 10), slice(3, 5), floor=0.6, haematoxylin=0.4)
    assert not fold_like(slice(2, 10), slice(3, 9), floor=0.6, haematoxylin=0.4)
    assert not fold_like(slice(2, 5), slice(3, 5), floor=0.6, haematoxylin=0.4)


def test_ink_is_no_fold_and_hides_none() -> None:
    bins = values(16)
    for name, value in {"floor": 2.0, "haematoxylin": 1.0, "ink": 0.9}.items():
        bins[MEASURES.index(name), 8:] = value
    for name, value in {"floor": 0.6, "haematoxylin": 0.4}.items():
        bins[MEASURES.index(name), 2:10, 3:5] = value
    bins[MEASURES.index("ink"), 2:8] = 0.0
    found = suspected_bins(BinValues(bins), np.ones((16, 16), np.float32), RULES)["fold"]
    assert found[2:8, 3:5].all()
    assert not found[8:, 5:].any()


def test_dense_tissue_with_a_dark_nucleus_here_and_there_is_no_fold() -> None:
    bins = values(16)
    bins[MEASURES.index("floor"), 2:12, 3:5] = 0.6
    bins[MEASURES.index("haematoxylin"), 2:12, 3:5] = 0.26
    bins[MEASURES.index("haematoxylin"), 4, 3:5] = 0.4
    found = suspected_bins(BinValues(bins), np.ones((16, 16), np.float32), RULES)
    assert not found["fold"].any()


def test_the_thin_border_of_tissue_alone_is_not_out_of_focus() -> None:
    bins = values(sharpness=0.2, tissue=0.4)
    found = excluded_bins(BinValues(bins), np.ones((8, 8), np.float32), RULES)
    assert not found["out_of_focus"].any()


def test_pigment_is_told_of_and_left_out_only_on_request() -> None:
    bins = values(granular=0.1)
    quality = judge(slide(bins), CellPoints.empty(), RULES)
    assert quality.flags == ("pigment",)
    assert not quality.excluded.any()
    asked = judge(slide(bins), CellPoints.empty(), QcSettings(exclude=("pigment",)))
    assert asked.excluded.all()


def test_a_reason_that_is_switched_off_excludes_nothing() -> None:
    bins = values(ink=0.9)
    rules = QcSettings(exclude=("fold",))
    assert judge(slide(bins), CellPoints.empty(), rules).area_mm2 == {"fold": 0.0}


def test_quality_control_that_is_off_says_nothing() -> None:
    quality = judge(slide(values(sharpness=0.1)), CellPoints.empty(), QcSettings(enabled=False))
    assert quality.flags == ()
    assert not quality.excluded.any()


def test_bins_that_were_never_read_are_not_judged() -> None:
    bins = values()
    bins[:, :, 5:] = np.nan
    quality = judge(slide(bins), CellPoints.empty(), RULES)
    assert quality.flags == ()
    assert quality.measures["bins"] == 40
    assert all(np.isfinite(value) for value in quality.measures.values())


def test_ink_beside_the_tissue_keeps_cells_of_its_rim_out() -> None:
    quality = judge(slide(values(), ink=True), CellPoints.empty(), RULES)
    assert quality.reasons["pen"].all()
    assert "pen" in quality.flags


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"pink_share": 0.6}, "not_ki67_like"),
        ({"brown_share": 0.0}, "no_dab"),
        ({"haematoxylin_od": 0.02}, "no_haematoxylin"),
        ({"haematoxylin_od": 0.10}, "understained"),
        ({"haematoxylin_od": 1.40}, "overstained"),
        ({"floor_od": 1.40}, "overstained"),
        ({"edge_um": 900.0}, "tissue_at_edge"),
        ({"mask_agreement": 0.2}, "mask_disagreement"),
        ({"ink_mm2": 0.4}, "pen"),
        ({"pigment_mm2": 0.4}, "pigment"),
        (
            {
                "classical_cells": 900.0,
                "network_cells": 900.0,
                "classical_index_pct": 10.0,
                "network_index_pct": 70.0,
            },
            "classical_disagreement",
        ),
    ],
)
def test_each_flag_is_raised_by_its_own_number(change: dict[str, float], flag: str) -> None:
    assert slide_flags(GOOD_SLIDE, {}, 10.0, RULES) == ()
    assert slide_flags(GOOD_SLIDE | change, {}, 10.0, RULES) == (flag,)
    assert flag in FLAGS


def test_a_negative_ki67_slide_is_not_called_an_h_and_e_slide() -> None:
    flags = slide_flags(GOOD_SLIDE | {"brown_share": 0.0, "pink_share": 0.01}, {}, 10.0, RULES)
    assert flags == ("no_dab",)


def test_few_cells_are_not_compared() -> None:
    few = {
        "classical_cells": 20.0,
        "network_cells": 900.0,
        "classical_index_pct": 10.0,
        "network_index_pct": 70.0,
    }
    assert slide_flags(GOOD_SLIDE | few, {}, 10.0, RULES) == ()


def test_a_slide_without_tissue_has_no_flags() -> None:
    assert slide_flags({"edge_um": 0.0, "mask_agreement": 0.0}, {}, 0.0, RULES) == ()
