"""The block bootstrap: covers the truth where cells are clustered, depends on nothing else."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.point_patterns import Pattern, field_pattern, uniform_pattern
from pipeline.core.bootstrap import block_bootstrap95, kept
from pipeline.core.scoring import wilson95

SEEDS = st.integers(0, 2**32 - 1)


def interval_of(pattern: Pattern, **options: float) -> tuple[float, float]:
    interval = block_bootstrap95(pattern.x_um, pattern.y_um, pattern.positive, **options)  # type: ignore[arg-type]
    assert interval is not None
    return interval


def on_eighths(seed: int, cells: int = 1500) -> Pattern:
    """Cells on a lattice of 1/8 um, so that moving them is exact."""
    rng = np.random.default_rng(seed)
    x_um, y_um = rng.integers(0, 5000 * 8, (2, cells)) / 8
    return Pattern(x_um, y_um, rng.random(cells) < 0.1 + 0.4 * x_um / 5000, 30.0)


@pytest.mark.slow
@pytest.mark.parametrize("length_um", [50, 150, 400])
def test_the_interval_covers_the_truth_of_clustered_cells(length_um: int) -> None:
    rng = np.random.default_rng(length_um)
    covered = wilson_covered = 0
    for mm2 in np.geomspace(5, 12, 40):
        pattern = field_pattern(rng, length_um=length_um, mm2=mm2)
        low, high = interval_of(pattern)
        covered += low <= pattern.true_pct <= high
        wilson = wilson95(int(pattern.positive.sum()), len(pattern.positive))
        assert wilson is not None
        wilson_covered += wilson[0] <= pattern.true_pct <= wilson[1]
    assert covered >= 35
    assert wilson_covered < covered


def test_where_labels_are_independent_it_is_about_as_wide_as_wilsons() -> None:
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(20):
        pattern = uniform_pattern(rng, cells=60_000, index=0.2)
        low, high = interval_of(pattern)
        wilson = wilson95(int(pattern.positive.sum()), 60_000)
        assert wilson is not None
        ratios.append((high - low) / (wilson[1] - wilson[0]))
    assert 0.95 < float(np.median(ratios)) < 1.3
    assert max(ratios) < 2.0


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(-(2**20), 2**20), st.integers(-(2**20), 2**20))
def test_neither_the_order_of_cells_nor_their_place_matters(seed: int, right: int, up: int) -> None:
    pattern = on_eighths(seed)
    order = np.random.default_rng(seed).permutation(len(pattern.x_um))
    moved = Pattern(
        pattern.x_um[order] + right, pattern.y_um[order] - up, pattern.positive[order], 30.0
    )
    assert interval_of(moved) == interval_of(pattern)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_swapping_the_labels_mirrors_the_interval(seed: int) -> None:
    pattern = on_eighths(seed)
    low, high = interval_of(pattern)
    swapped = Pattern(pattern.x_um, pattern.y_um, ~pattern.positive, 70.0)
    assert interval_of(swapped) == pytest.approx((100 - high, 100 - low), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_the_interval_holds_the_index_and_stays_within_0_and_100(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pattern = on_eighths(seed)
    rare = Pattern(pattern.x_um, pattern.y_um, rng.random(1500) < rng.random() ** 4, 0.0)
    if rare.positive.any() and not rare.positive.all():
        low, high = interval_of(rare)
        assert 0 <= low <= 100 * rare.positive.mean() <= high <= 100


def test_a_seed_gives_the_same_interval_and_another_nearly_the_same() -> None:
    pattern = on_eighths(1)
    intervals = [interval_of(pattern, seed=seed) for seed in (0, 0, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]
    widths = [high - low for low, high in intervals]
    assert max(widths) < 1.25 * min(widths)


def test_the_unit_of_length_does_not_matter() -> None:
    pattern = on_eighths(2)
    doubled = Pattern(2 * pattern.x_um, 2 * pattern.y_um, pattern.positive, 30.0)
    assert interval_of(doubled, block_um=2000.0) == interval_of(pattern, block_um=1000.0)


def test_clusters_make_it_wider_than_the_same_labels_dealt_at_random() -> None:
    rng = np.random.default_rng(5)
    pattern = field_pattern(rng, length_um=150, mm2=10)
    dealt = Pattern(pattern.x_um, pattern.y_um, rng.permutation(pattern.positive), 20.0)
    (low, high), (dealt_low, dealt_high) = interval_of(pattern), interval_of(dealt)
    assert high - low > 2 * (dealt_high - dealt_low)


def test_too_few_blocks_give_no_interval() -> None:
    small = on_eighths(0)
    assert block_bootstrap95(small.x_um / 5, small.y_um / 5, small.positive) is None
    assert block_bootstrap95(small.x_um[:1], small.y_um[:1], small.positive[:1]) is None
    empty = np.empty(0)
    assert block_bootstrap95(empty, empty, empty.astype(bool)) is None


@pytest.mark.parametrize("label", [False, True])
def test_cells_of_one_label_give_no_interval(label: bool) -> None:
    cells = on_eighths(0)
    assert block_bootstrap95(cells.x_um, cells.y_um, np.full(1500, label)) is None


def test_a_block_without_side_is_refused() -> None:
    with pytest.raises(ValueError, match="block_um=0"):
        block_bootstrap95(np.zeros(2), np.zeros(2), np.ones(2, bool), block_um=0)


def test_the_kept_part_of_a_correlation_is_what_pairs_in_a_block_have() -> None:
    """Against a direct sum: pairs of places at any distance that fall into one block."""
    side, steps = 3.0, np.linspace(-12, 12, 4801)
    overlap = np.clip(1 - np.abs(steps) / side, 0, None)
    along = np.trapezoid(overlap * np.exp(-(steps**2)), steps) / np.sqrt(np.pi)
    assert float(kept(np.array(side))) == pytest.approx(along**2, rel=1e-4)
    rising = kept(np.linspace(0.1, 50, 500))
    assert all(low < high for low, high in itertools.pairwise(rising))
    assert rising[-1] < 1
