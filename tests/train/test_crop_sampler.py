"""Targets lie on their cells, and a batch is a function of seed and step."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.core.maps import MapRule, location_map, max_dt_px
from pipeline.train.augment import Crop
from pipeline.train.config import CardConfig, SourceConfig, TrainConfig
from pipeline.train.crops import CropSampler, field_max_dt_px, target_maps
from pipeline.train.fields import UNCLASSED, Field

CARD = CardConfig(name="t", population="p", caveat="c", licence="l", halo_px=0)


def make_crop(points: list[tuple[float, float, int]], side: int = 64) -> Crop:
    rows = np.array(points, np.float64).reshape(-1, 3)
    image = np.zeros((side, side, 3), np.uint8)
    return Crop(image, rows[:, 0], rows[:, 1], rows[:, 2].astype(np.uint8))


def two_rules() -> list[MapRule]:
    return [MapRule(max_dt_px=max_dt_px(0.5))] * 2


def make_config(**changes: object) -> TrainConfig:
    sources = [SourceConfig(name=n, kind="points", path="p", mpp_um=0.5) for n in ("a", "b")]
    values = {"architecture": "m_hrnet_tiny", "card": CARD, "crop_px": 32, "batch": 3}
    return TrainConfig.model_validate(
        values | {"training": sources, "validation": sources[:1]} | changes
    )


def make_field(name: str, seed: int) -> Field:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)
    xy = rng.uniform(0, 48, (2, 6))
    return Field(name, name, image, xy[0], xy[1], rng.integers(0, 2, 6).astype(np.uint8), 0.5)


def test_the_target_peaks_at_the_pixel_of_the_point_in_its_class() -> None:
    maps = target_maps(make_crop([(10.9, 20.1, 1), (40.5, 50.5, 0)]), two_rules())

    assert np.argwhere(maps[0] == 1).tolist() == [[20, 10]]
    assert np.argwhere(maps[1] == 1).tolist() == [[50, 40]]


def test_a_crop_shows_the_same_target_as_the_whole() -> None:
    points = [(30.5, 30.5, 1), (36.2, 33.3, 0), (70.0, 20.0, 0)]
    whole = target_maps(make_crop(points, 96), two_rules())

    moved = [(x - 32, y - 16, label) for x, y, label in points]
    part = target_maps(make_crop(moved, 32), two_rules())

    assert (part == whole[:, 16:48, 32:64]).all()
    assert part.max() > 0.2


def test_one_channel_holds_every_cell() -> None:
    crop = make_crop([(5, 5, 1), (25, 25, 0), (45, 45, UNCLASSED)])
    maps = target_maps(crop, two_rules()[:1])

    assert (maps[0] == 1).sum() == 3


def test_an_empty_crop_has_an_empty_target() -> None:
    assert not target_maps(make_crop([]), two_rules()).any()


@pytest.mark.parametrize("mpp_um", [0.25, 0.5, 1.0])
def test_nothing_is_left_of_a_cell_beyond_the_kernels_reach(mpp_um: float) -> None:
    rule = MapRule(max_dt_px=max_dt_px(mpp_um))
    reach = rule.reach_px()
    maps = target_maps(make_crop([(100.5, 100.5, 1)], 200), [rule])

    rows, _ = np.nonzero(maps[0])
    assert 100 - reach <= rows.min() <= 100 - reach + 3


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    fields = [[make_field("a", 0)], [make_field("b", 1)]]
    first = CropSampler(make_config(), fields, channels=2)
    second = CropSampler(make_config(), fields, channels=2)
    first.batch(0)

    one, other = first.batch(7), second.batch(7)

    assert (one.images == other.images).all()
    assert (one.targets == other.targets).all()
    assert not (one.images == second.batch(8).images).all()


def test_unknown_classes_are_told_to_the_loss_of_two_channels() -> None:
    plain = make_field("a", 0)
    unknown = replace(plain, name="u", label=np.full(6, UNCLASSED, np.uint8))
    sampler = CropSampler(make_config(), [[unknown], [unknown]], channels=2)

    assert not sampler.batch(0).classed.any()


def test_an_images_own_max_dt_is_that_of_the_whole_field_whatever_the_crop() -> None:
    field = make_field("a", 0)
    quiet = {
        **dict.fromkeys(("stain", "stain_shift", "brightness", "contrast", "colour"), 0.0),
        "blur": 0.0,
        "jpeg": 0.0,
        "overhang_px": 0.0,
        "scale": (1.0, 1.0),
        "turns": False,
    }
    config = make_config(map={"max_dt": "image"}, augment=quiet, batch=1, crop_px=64)
    wide = replace(field, image=np.zeros((64, 64, 3), np.uint8))
    rule = MapRule("edt", max_dt_px=None)
    whole = location_map(wide.x_px, wide.y_px, (64, 64), rule)

    target = CropSampler(config, [[wide], [wide]], channels=1).batch(0).targets[0, 0]

    # the crop is the whole field, as it is or mirrored
    assert any(np.array_equal(target, side) for side in (whole, whole[:, ::-1]))


def test_a_scaled_crop_takes_the_fields_max_dt_at_its_own_scale() -> None:
    field = make_field("a", 3)
    config = make_config(map={"max_dt": "image"}, augment={"scale": (2.0, 2.0)}, batch=2)
    largest = field_max_dt_px(field, np.ones(6, bool), mpp_um=0.5)
    assert largest is not None
    sampler = CropSampler(config, [[field], [field]], channels=1)
    crop = replace(make_crop([(10.0, 10.0, 1)]), scale=2.0)
    (rule,) = sampler._rules(field, crop)
    assert rule.max_dt_px == pytest.approx(largest / 2)


def test_without_turns_a_crop_is_only_mirrored() -> None:
    image = np.zeros((48, 48, 3), np.uint8)
    image[:8] = 200  # a bright top edge stays on top
    field = replace(make_field("a", 0), image=image)
    still = {"scale": (1.0, 1.0), "overhang_px": 0.0, "turns": False, "blur": 0.0, "jpeg": 0.0}
    config = make_config(augment=still, crop_px=32, batch=8)
    turned = make_config(augment={**still, "turns": True}, crop_px=32, batch=8)
    field = replace(field, mpp_um=0.5 * 32 / 48)
    plain = CropSampler(config, [[field], [field]], channels=1).batch(0).images
    mixed = CropSampler(turned, [[field], [field]], channels=1).batch(0).images
    assert (plain[:, 0, 0].mean(axis=1) > plain[:, 0, -1].mean(axis=1) + 50).all()
    assert not (mixed[:, 0, 0].mean(axis=1) > mixed[:, 0, -1].mean(axis=1) + 50).all()
