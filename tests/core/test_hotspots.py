"""Hotspots: planted ones are found, chance ones are called chance, nothing else matters."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.point_patterns import Pattern, planted_pattern, uniform_pattern
from pipeline.core.circles import CircleSearch
from pipeline.core.hotspots import Hotspot, find_hotspots
from pipeline.core.scoring import wilson95

SEEDS = st.integers(0, 2**32 - 1)


def search(pattern: Pattern, **options: float) -> tuple[Hotspot, ...]:
    settings: dict[str, float] = {"permutations": 19} | options
    return find_hotspots(pattern.x_um, pattern.y_um, pattern.positive, **settings)  # type: ignore[arg-type]


def on_eighths(seed: int, cells: int = 4000) -> Pattern:
    """Cells on a lattice of 1/8 um, so that moving them is exact."""
    rng = np.random.default_rng(seed)
    x_um, y_um = rng.integers(0, 1200 * 8, (2, cells)) / 8
    return Pattern(x_um, y_um, rng.random(cells) < 0.2, 20.0)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0.02, 0.2])
def test_uniform_positivity_rarely_shows_a_hotspot(index: float) -> None:
    rng = np.random.default_rng(7)
    called = np.zeros(3, int)
    for number in range(40):
        pattern = uniform_pattern(rng, cells=5000, index=index)
        for spot in search(pattern, seed=number, permutations=39):
            called[spot.rank - 1] += spot.p_value < 0.05
    assert called.max() <= 5
    assert called[0] >= called[1] >= called[2]


@pytest.mark.slow
def test_a_planted_hotspot_is_found_first_and_where_it_is() -> None:
    rng = np.random.default_rng(8)
    near = 0
    for number in range(40):
        pattern, x_um, y_um = planted_pattern(
            rng, cells=5000, index=0.1, spot_index=0.4, spot_um=250.0
        )
        spots = search(pattern, seed=number, permutations=39)
        first = spots[0]
        near += first.p_value < 0.05 and math.hypot(first.x_um - x_um, first.y_um - y_um) < 100
    assert near >= 38


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(20, 700))
def test_a_hotspot_is_the_circle_it_says_it_is(seed: int, min_cells: int) -> None:
    pattern = on_eighths(seed)
    spots = search(pattern, min_cells=min_cells)
    assert spots
    for spot in spots:
        inside = np.hypot(pattern.x_um - spot.x_um, pattern.y_um - spot.y_um) <= spot.radius_um
        assert spot.cells == inside.sum() >= min_cells
        assert spot.positive == pattern.positive[inside].sum() > 0
        assert spot.index_pct == 100 * spot.positive / spot.cells
        assert spot.wilson95 == wilson95(spot.positive, spot.cells)
        assert 0.05 <= spot.p_value <= 1
    for one, other in combinations(spots, 2):
        apart = math.hypot(one.x_um - other.x_um, one.y_um - other.y_um)
        assert apart >= one.radius_um + other.radius_um
    assert [spot.rank for spot in spots] == list(range(1, len(spots) + 1))


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(-(2**20), 2**20), st.integers(-(2**20), 2**20))
def test_neither_the_order_of_cells_nor_their_place_matters(seed: int, right: int, up: int) -> None:
    pattern = on_eighths(seed)
    order = np.random.default_rng(seed).permutation(len(pattern.x_um))
    moved = Pattern(
        pattern.x_um[order] + right, pattern.y_um[order] - up, pattern.positive[order], 20.0
    )
    for here, there in zip(search(pattern), search(moved), strict=True):
        assert there.x_um - right == pytest.approx(here.x_um, abs=1e-6)
        assert there.y_um + up == pytest.approx(here.y_um, abs=1e-6)
        assert (there.radius_um, there.positive, there.p_value) == (
            here.radius_um,
            here.positive,
            here.p_value,
        )
        assert there.expected_max_if_uniform_pct == here.expected_max_if_uniform_pct


def test_a_seed_decides_chance_and_nothing_else() -> None:
    pattern = on_eighths(4)
    first, again, other = (search(pattern, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert [spot.x_um for spot in first] == [spot.x_um for spot in other]
    assert first[0].expected_max_if_uniform_pct != other[0].expected_max_if_uniform_pct


def test_the_first_circle_is_about_as_hot_as_the_hottest_of_all() -> None:
    """Against the exhaustive search: the nearest 200 cells of every place of a fine lattice."""
    rng = np.random.default_rng(9)
    pattern = uniform_pattern(rng, cells=3000, index=0.2)
    highest = 0.0
    for x_um in np.arange(0, 1000, 20.0):
        for y_um in np.arange(0, 1000, 20.0):
            squared = (pattern.x_um - x_um) ** 2 + (pattern.y_um - y_um) ** 2
            nearest = np.argpartition(squared, 199)[:200]
            highest = max(highest, 100 * float(pattern.positive[nearest].mean()))
    (found,) = search(pattern, min_cells=200, count=1)
    assert highest - 1.5 <= found.index_pct <= highest + 1.5


def test_chance_alone_finds_more_than_the_slide_has() -> None:
    pattern = uniform_pattern(np.random.default_rng(1), cells=20_000, index=0.2)
    for spot in search(pattern):
        assert 23 < spot.expected_max_if_uniform_pct < 29


def test_with_too_few_cells_there_is_no_hotspot() -> None:
    pattern = on_eighths(0, cells=499)
    assert search(pattern) == ()
    assert len(search(on_eighths(0, cells=500), max_radius_um=3000)) == 1


def test_where_cells_are_too_sparse_there_is_no_hotspot() -> None:
    pattern = on_eighths(0, cells=600)
    sparse = Pattern(10 * pattern.x_um, 10 * pattern.y_um, pattern.positive, 20.0)
    assert search(sparse) == ()


def test_without_a_positive_cell_there_is_no_hotspot() -> None:
    pattern = on_eighths(0)
    none = Pattern(pattern.x_um, pattern.y_um, np.zeros(4000, bool), 0.0)
    assert search(none) == ()
    assert search(pattern, count=0) == ()


def test_where_all_cells_are_positive_chance_explains_all() -> None:
    pattern = on_eighths(0)
    spots = search(Pattern(pattern.x_um, pattern.y_um, np.ones(4000, bool), 100.0))
    assert {(spot.index_pct, spot.p_value) for spot in spots} == {(100.0, 1.0)}


def test_hotspots_lie_in_separate_pieces_far_apart() -> None:
    one = on_eighths(0)
    two = Pattern(
        np.concatenate([one.x_um, one.x_um + 1e6]),
        np.tile(one.y_um, 2),
        np.concatenate([one.positive, np.zeros(4000, bool)]),
        10.0,
    )
    assert all(spot.x_um < 1300 for spot in search(two))


def test_cells_on_one_spot_do_not_break_the_search() -> None:
    heap = Pattern(np.zeros(600), np.zeros(600), np.arange(600) < 60, 10.0)
    (spot,) = search(heap)
    assert (spot.cells, spot.positive) == (600, 60)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="min_cells=0"):
        search(on_eighths(0), min_cells=0)


def test_a_search_keeps_every_cell_once() -> None:
    pattern = on_eighths(3)
    found, order = CircleSearch.of(pattern.x_um, pattern.y_um, min_cells=100, max_radius_um=500.0)
    assert sorted(order.tolist()) == list(range(4000))
    assert (found.x_um == pattern.x_um[order]).all()
    assert found.before[-1] == 4000
    assert (found.held >= 100).all()


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(20, 300))
def test_labels_dealt_together_give_what_each_deal_gives_alone(seed: int, min_cells: int) -> None:
    pattern = on_eighths(seed)
    found, _ = CircleSearch.of(pattern.x_um, pattern.y_um, min_cells=min_cells, max_radius_um=500.0)
    dealt = (np.random.default_rng(seed).random((4000, 5)) < 0.2).astype(np.uint8)
    alone = [found.best(dealt[:, deal].copy()) for deal in range(5)]
    assert list(found.best_of_each(dealt)) == alone
    assert found.deals_at_once >= 1
