"""Maps of a batch equal the core's maps, whatever the kind, cells just outside included."""

import numpy as np
import pytest
import torch

from pipeline.core.maps import KINDS, MapKind, MapRule, location_map, max_dt_px
from pipeline.train.targets import seeds_of, target_maps

SIDE = 48
POINTS = np.array(
    [[10.9, 20.1], [12.2, 20.9], [40.5, 40.5], [-2.3, 30.0], [47.9, 0.0], [60.0, 9.0]]
)
EVERY = [np.ones(len(POINTS), bool)]


def core_map(rule: MapRule, xy: np.ndarray, margin: int = 160) -> np.ndarray:
    whole = location_map(xy[:, 0] + margin, xy[:, 1] + margin, (SIDE + 2 * margin,) * 2, rule)
    return whole[margin : margin + SIDE, margin : margin + SIDE]


@pytest.mark.parametrize("kind", KINDS)
def test_the_maps_are_the_cores(kind: MapKind) -> None:
    rule = MapRule(kind, max_dt_px=max_dt_px(0.5) if kind == "edt" else None, sigma_px=1.9)

    found = target_maps(seeds_of(0, POINTS, EVERY), (1, 1, SIDE), rule)[0, 0]

    assert found.numpy() == pytest.approx(core_map(rule, POINTS), abs=2e-6)
    assert found.max() == pytest.approx(1.0, abs=1e-6) or kind == "density"


def test_every_map_has_its_own_max_dt() -> None:
    seeds = np.concatenate([seeds_of(crop, POINTS, EVERY * 2) for crop in range(2)])
    largest = np.array([[20.0, 60.0], [118.0, 300.0]])

    maps = target_maps(seeds, (2, 2, SIDE), MapRule("edt"), max_dt_px=largest)

    for crop, channel in np.ndindex(2, 2):
        rule = MapRule("edt", max_dt_px=float(largest[crop, channel]))
        assert maps[crop, channel].numpy() == pytest.approx(core_map(rule, POINTS), abs=2e-6)


def test_a_rule_of_the_whole_image_needs_the_images_max_dt() -> None:
    with pytest.raises(ValueError, match="give the image's Max"):
        target_maps(seeds_of(0, POINTS, EVERY), (1, 1, SIDE), MapRule("edt"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_without_a_cell_has_an_empty_map(kind: MapKind) -> None:
    none = seeds_of(0, np.zeros((0, 2)), [np.zeros(0, bool)])

    maps = target_maps(none, (1, 1, SIDE), MapRule(kind, max_dt_px=70.0))

    assert not maps.any()
    assert maps.dtype == torch.float32


def test_a_cell_lies_in_its_channel_and_crop_at_the_pixel_of_its_point() -> None:
    rule = MapRule(max_dt_px=max_dt_px(0.5))
    positive = np.array([True, False])
    seeds = seeds_of(1, np.array([[10.9, 20.1], [40.5, 30.5]]), [positive, ~positive])

    maps = target_maps(seeds, (2, 2, SIDE), rule)

    assert torch.argwhere(maps == 1).tolist() == [[1, 0, 20, 10], [1, 1, 30, 40]]
    assert not maps[0].any()
