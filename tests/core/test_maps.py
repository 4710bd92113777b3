"""Location maps: the published table of values; maps of no, one, many and coincident cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core.maps import (
    KINDS,
    MAX_DT_UM,
    MapKind,
    MapRule,
    density_map,
    edt_map,
    edt_profile,
    image_max_dt_px,
    location_map,
    max_dt_px,
    seed_distance,
)

TABLE = {  # Max(DT): EDT at distances 0, 1, 2 ... before the clip at 0.01
    20: [1.0, 0.5, 0.2612, 0.1000, 0.0303],
    50: [1.0, 0.5, 0.3489, 0.2300, 0.1416, 0.0821, 0.0454, 0.0242, 0.0125],
    100: [1.0, 0.5, 0.3810, 0.2934, 0.2231, 0.1667, 0.1223, 0.0883, 0.0628, 0.0441, 0.0307],
    300: [1.0, 0.5, 0.4030, 0.3409, 0.2936, 0.2548, 0.2220, 0.1936, 0.1688, 0.1471, 0.1280],
}


@pytest.mark.parametrize("largest", TABLE)
def test_the_profile_has_the_published_values(largest: int) -> None:
    values = edt_profile(np.arange(len(TABLE[largest]), dtype=float), float(largest))
    assert values == pytest.approx(TABLE[largest], abs=1e-4)


@pytest.mark.parametrize(("largest", "reach"), [(20, 4.8), (50, 8.3), (100, 13.0), (300, 26.9)])
def test_values_under_a_hundredth_are_0(largest: int, reach: float) -> None:
    assert edt_profile(np.array([reach - 0.1]), largest)[0] >= 0.01
    assert edt_profile(np.array([reach + 0.1]), largest)[0] == 0.0


def test_values_fall_at_the_published_radii() -> None:
    for largest, radii in {
        50: (2.8, 4.7, 5.5),
        118: (3.8, 7.2, 8.9),
        300: (5.1, 11.8, 15.3),
    }.items():
        for value, radius in zip((0.25, 0.1, 0.06), radii, strict=True):
            low, high = edt_profile(np.array([radius + 0.06, radius - 0.06]), largest)
            assert low < value < high


@given(st.floats(1.0, 1000.0))
def test_the_centre_is_1_and_its_neighbour_a_half_whatever_max_dt(largest: float) -> None:
    assert edt_profile(np.array([0.0, 1.0]), largest).tolist() == [1.0, 0.5]


@given(st.floats(1.0, 1000.0))
def test_the_profile_never_rises_with_distance(largest: float) -> None:
    values = edt_profile(np.linspace(0, 3000, 4000), largest)
    assert (np.diff(values) <= 0).all()
    assert np.isfinite(values).all()


def test_no_cell_gives_zeros() -> None:
    nowhere = np.empty(0)
    assert not edt_map(nowhere, nowhere, (20, 30), max_dt_px=None).any()
    assert seed_distance(nowhere, nowhere, (20, 30)) is None


def test_cells_outside_the_map_are_left_out() -> None:
    x, y = np.array([-0.1, 30.0, 5.0, 5.0]), np.array([5.0, 5.0, -0.1, 20.0])
    assert not edt_map(x, y, (20, 30), max_dt_px=118.0).any()


def test_one_cell_is_1_at_its_pixel_and_falls_all_around() -> None:
    heatmap = edt_map(np.array([20.7]), np.array([10.2]), (40, 50), max_dt_px=None)
    assert heatmap.dtype == np.float32
    assert heatmap[10, 20] == 1.0
    assert heatmap[10, 21] == heatmap[9, 20] == 0.5
    assert heatmap.argmax() == 10 * 50 + 20


def test_two_cells_on_one_pixel_are_one_seed_not_none() -> None:
    once = edt_map(np.array([20.5]), np.array([10.5]), (40, 50), max_dt_px=None)
    twice = edt_map(np.array([20.2, 20.9]), np.array([10.5, 10.1]), (40, 50), max_dt_px=None)
    assert np.array_equal(once, twice)


def test_cells_on_every_pixel_give_ones() -> None:
    y, x = np.mgrid[0:6, 0:7] + 0.5
    assert (edt_map(x.ravel(), y.ravel(), (6, 7), max_dt_px=None) == 1.0).all()


@given(st.integers(0, 10_000))
def test_with_a_fixed_max_dt_a_crop_of_the_map_is_the_map_of_the_crop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 120, 25), rng.uniform(0, 100, 25)
    whole = edt_map(x, y, (100, 120), max_dt_px=118.0)
    # points up to the kernel's reach beyond the crop belong to it: made larger, then cut
    margin = 15
    wide = edt_map(
        x - 30 + margin, y - 20 + margin, (40 + 2 * margin, 50 + 2 * margin), max_dt_px=118.0
    )
    assert np.array_equal(whole[20:60, 30:80], wide[margin:-margin, margin:-margin])


def test_the_images_own_max_dt_makes_the_map_depend_on_the_crop() -> None:
    x, y = np.array([20.5]), np.array([20.5])
    wide = edt_map(x, y, (200, 200), max_dt_px=None)[:40, :40]
    assert not np.array_equal(wide, edt_map(x, y, (40, 40), max_dt_px=None))


def test_the_fixed_max_dt_keeps_its_size_in_micrometres() -> None:
    assert max_dt_px(0.3125) == pytest.approx(118)
    assert max_dt_px(0.5) * 0.5 == pytest.approx(MAX_DT_UM)


@pytest.mark.parametrize("mpp_um", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_resolutions_are_refused(mpp_um: float) -> None:
    with pytest.raises(ValueError, match=f"mpp_um={mpp_um}"):
        max_dt_px(mpp_um)


def test_a_max_dt_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="max_dt_px=0"):
        edt_profile(np.zeros(1), 0.0)


Coordinates = NDArray[np.float64]
LOCAL = {"max_dt_px": 40.0, "sigma_px": 2.5}


def points(seed: int, count: int, *, width: int, height: int) -> tuple[Coordinates, Coordinates]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, width, count), rng.uniform(0, height, count)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_distances_are_the_exact_euclidean_ones_between_pixels(seed: int, count: int) -> None:
    x, y = points(seed, count, width=50, height=40)
    rows, cols = np.mgrid[0:40, 0:50]
    squared = [(rows - int(b)) ** 2 + (cols - int(a)) ** 2 for a, b in zip(x, y, strict=True)]
    found = seed_distance(x, y, (40, 50))
    assert found is not None
    assert found == pytest.approx(np.sqrt(np.min(squared, axis=0)), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_map_of_no_cell_is_zero_and_of_one_cell_peaks_at_1(kind: MapKind) -> None:
    rule, none = MapRule(kind, **LOCAL), np.empty(0)
    assert not location_map(none, none, (30, 40), rule).any()
    heatmap = location_map(np.array([20.4]), np.array([10.9]), (30, 40), rule)
    assert heatmap.dtype == np.float32
    assert heatmap.argmax() == 10 * 40 + 20
    assert heatmap[10, 20] == pytest.approx(1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_coincident_cells_are_one_in_a_distance_map_and_two_in_a_density(kind: MapKind) -> None:
    rule = MapRule(kind, **LOCAL)
    once = location_map(np.array([20.5]), np.array([10.5]), (30, 40), rule)
    twice = location_map(np.array([20.5, 20.5]), np.array([10.5, 10.5]), (30, 40), rule)
    assert twice == pytest.approx(once * (2 if kind == "density" else 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_every_local_map_of_a_crop_is_the_crop_of_the_map(kind: MapKind, seed: int) -> None:
    rule = MapRule(kind, **LOCAL)
    margin = rule.reach_px()
    x, y = points(seed, 30, width=400, height=380)
    whole = location_map(x, y, (380, 400), rule)[150:210, 140:230]
    shape = (60 + 2 * margin, 90 + 2 * margin)
    wide = location_map(x - 140 + margin, y - 150 + margin, shape, rule)
    assert np.array_equal(whole, wide[margin:-margin, margin:-margin])


@pytest.mark.parametrize(("kind", "least"), [("edt", 5), ("idt", 99), ("fidt", 30)])
def test_nothing_is_left_beyond_the_reach(kind: MapKind, least: int) -> None:
    rule = MapRule(kind, max_dt_px=20.0)
    reach = rule.reach_px()
    assert least <= reach <= least + 1
    assert rule.profile(np.array([float(reach)]))[0] == 0.0


def test_a_density_sums_to_the_cells_inside() -> None:
    x, y = points(3, 25, width=60, height=40)
    density = density_map(x + 20, y + 20, (80, 100), sigma_px=3.0)
    assert density.sum() == pytest.approx(25)


def test_the_constants_change_the_map_as_the_formula_says() -> None:
    distance = np.array([0.0, 1.0, 3.0])
    found = MapRule("edt", max_dt_px=50.0, c1=5.0, c2=1.0, c3=2.0).profile(distance)
    assert found == pytest.approx([0.5, 1 / 3, 1 / (3 ** (5 * 3 / 50 + 1) + 2)])
    literal = 1 / (3 ** (0.02 * 3 + 0.75) + 1)
    assert MapRule("fidt").profile(distance)[2] == pytest.approx(literal)


def test_an_images_own_max_dt_is_its_emptiest_place_and_at_least_1() -> None:
    assert image_max_dt_px(np.array([0.5]), np.array([0.5]), (513, 513)) == pytest.approx(
        512 * 2**0.5
    )
    y, x = np.mgrid[0:6, 0:7] + 0.5
    assert image_max_dt_px(x.ravel(), y.ravel(), (6, 7)) == 1.0
    assert image_max_dt_px(np.empty(0), np.empty(0), (6, 7)) is None


def test_what_no_map_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="power=0"):
        MapRule("edt", c2=0.0)
    with pytest.raises(ValueError, match="offset=-1"):
        MapRule("idt", c3=-1.0)
    with pytest.raises(ValueError, match="sigma_px=0"):
        MapRule("density", sigma_px=0)
    with pytest.raises(ValueError, match="give the image's Max"):
        MapRule("edt").reach_px()
    with pytest.raises(ValueError, match="known: edt, idt, fidt, density"):
        MapRule("psi")  # type: ignore[arg-type]
