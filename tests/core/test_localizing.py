"""CCLS, LMSS and LMDS by name: neighbourhoods, thresholds, and which may be cut into tiles."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.ccls import localize
from pipeline.core.lmds import find_lmds
from pipeline.core.localizing import POST_KINDS, PeakRule, PostKind


def at(*pixels: tuple[int, int, float], channels: int = 1) -> NDArray[np.float32]:
    heatmap = np.zeros((channels, 80, 80), np.float32)
    for row, col, value in pixels:
        heatmap[0, row, col] = value
    return heatmap


def rule(kind: PostKind) -> PeakRule:
    return PeakRule.named(kind, radius_um=3.1, mpp_um=0.3125)


def test_ccls_by_name_is_ccls() -> None:
    heatmap = np.random.default_rng(0).random((2, 120, 130)).astype(np.float32)
    named, plain = (
        rule("ccls").candidates(heatmap, floor=0.3),
        localize(heatmap, window=21, threshold=0.3),
    )
    assert named.col.tolist() == plain.col.tolist()
    assert named.score.tolist() == plain.score.tolist()


def test_only_ccls_suppresses_weaker_maxima_farther_than_a_pixel() -> None:
    heatmap = at((40, 40, 0.9), (40, 46, 0.8), (40, 41, 0.7))
    found = {kind: len(rule(kind).candidates(heatmap, floor=0.06)) for kind in POST_KINDS}
    assert found == {"ccls": 1, "lmss": 2, "lmds": 2}


def test_the_threshold_of_lmds_is_a_share_of_the_highest_value() -> None:
    pale = at((20, 20, 0.3), (60, 60, 0.2))
    assert find_lmds(pale).score.tolist() == pytest.approx([1.0, 2 / 3])
    assert len(find_lmds(at((20, 20, 0.3), (60, 60, 0.2), (40, 40, 0.9)))) == 1
    assert len(rule("lmss").candidates(at((20, 20, 0.3), (40, 40, 0.9)), floor=0.25)) == 2


def test_a_map_that_never_reaches_a_tenth_has_no_cell_by_lmds() -> None:
    noise = np.random.default_rng(0).uniform(0, 0.015, (1, 256, 256)).astype(np.float32)
    assert len(find_lmds(noise)) == 0
    assert len(find_lmds(at((5, 5, 0.11)))) == 1


def test_only_lmds_may_not_be_cut_into_tiles() -> None:
    assert {kind for kind in POST_KINDS if rule(kind).local} == {"ccls", "lmss"}


def test_unknown_names_and_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="known: ccls, lmss, lmds"):
        rule("nms")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"share=1\.5"):
        find_lmds(at(), share=1.5)
