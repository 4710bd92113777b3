"""A batch is a function of seed and step, and its maps belong to its pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.core.maps import MapRule, location_map
from pipeline.train.ahead import Ahead
from pipeline.train.config import CardConfig, SourceConfig, TrainConfig
from pipeline.train.crops import CropSampler, field_max_dt_px
from pipeline.train.fields import UNCLASSED, Field

CARD = CardConfig(name="t", population="p", caveat="c", licence="l", halo_px=0)
STILL = {
    **dict.fromkeys(("stain", "stain_shift", "brightness", "contrast", "colour"), 0.0),
    "blur": 0.0,
    "jpeg": 0.0,
    "overhang_px": 0.0,
    "scale": (1.0, 1.0),
    "rotation": "none",
}


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


def test_one_channel_holds_every_cell() -> None:
    field = make_field("a", 0)
    spots = np.array([8.5, 24.5, 40.5] * 2)
    mixed = replace(
        field,
        x_px=spots,
        y_px=spots[::-1].copy(),
        label=np.array([1, 0, UNCLASSED, 1, 0, UNCLASSED], np.uint8),
        image=np.zeros((64, 64, 3), np.uint8),
    )
    config = make_config(augment=STILL, crop_px=64, batch=1)

    batch = CropSampler(config, [[mixed], [mixed]], channels=1).batch(0)

    assert (batch.targets == 1).sum() == len(set(zip(spots, spots[::-1], strict=True)))
    assert batch.classed is None


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    fields = [[make_field("a", 0)], [make_field("b", 1)]]
    first = CropSampler(make_config(), fields, channels=2)
    second = CropSampler(make_config(), fields, channels=2)
    first.batch(0)

    one, other = first.batch(7), second.batch(7)

    assert torch.equal(one.images, other.images)
    assert torch.equal(one.targets, other.targets)
    assert not torch.equal(one.images, second.batch(8).images)


def test_preparing_ahead_gives_every_step_its_own() -> None:
    sampler = CropSampler(make_config(), [[make_field("a", 0)], [make_field("b", 1)]], channels=2)

    with Ahead(sampler.batch) as ahead:
        made = [ahead.get(step, last=9) for step in (0, 1, 5, 6)]

    for step, batch in zip((0, 1, 5, 6), made, strict=True):
        assert torch.equal(batch.images, sampler.batch(step).images)


def test_sources_share_the_crops_by_weight() -> None:
    dark, bright = make_field("a", 0), make_field("b", 1)
    dark = replace(dark, image=np.zeros((48, 48, 3), np.uint8))
    bright = replace(bright, image=np.full((48, 48, 3), 200, np.uint8))
    config = make_config(augment=STILL, batch=200)
    sources = [config.training[0].model_copy(update={"weight": 3.0}), config.training[1]]
    config = config.model_copy(update={"training": tuple(sources)})

    images = CropSampler(config, [[dark], [bright] * 5], channels=2).batch(0).images

    assert (images.float().mean(dim=(1, 2, 3)) < 100).float().mean() == pytest.approx(0.75, abs=0.1)


def test_unknown_classes_are_told_to_the_loss_of_two_channels() -> None:
    plain = make_field("a", 0)
    unknown = replace(plain, name="u", label=np.full(6, UNCLASSED, np.uint8))
    none = CropSampler(make_config(), [[unknown], [unknown]], channels=2).batch(0).classed
    every = CropSampler(make_config(), [[plain], [plain]], channels=2).batch(0).classed
    mixed = CropSampler(make_config(batch=40), [[plain], [unknown]], channels=2).batch(0).classed

    assert none is not None
    assert not none.any()
    assert every is None
    assert mixed is not None
    assert 0 < int(mixed.sum()) < 40


def test_an_images_own_max_dt_is_that_of_the_whole_field_whatever_the_crop() -> None:
    wide = replace(make_field("a", 0), image=np.zeros((64, 64, 3), np.uint8))
    config = make_config(map={"max_dt": "image"}, augment=STILL, batch=1, crop_px=64)
    whole = location_map(wide.x_px, wide.y_px, (64, 64), MapRule("edt", max_dt_px=None))

    target = CropSampler(config, [[wide], [wide]], channels=1).batch(0).targets[0, 0].numpy()

    # the crop is the whole field, as it is or mirrored; a mirrored point may change its pixel
    errors = [np.abs(target - side).max() for side in (whole, whole[:, ::-1])]
    assert min(errors) < 1e-5


def test_a_scaled_crop_takes_the_fields_max_dt_at_its_own_scale() -> None:
    field = make_field("a", 3)
    config = make_config(map={"max_dt": "image"}, augment={"scale": (2.0, 2.0)}, batch=2)
    largest = field_max_dt_px(field, np.ones(6, bool), mpp_um=0.5)
    assert largest is not None

    plan = CropSampler(config, [[field], [field]], channels=1).plan(0)

    assert plan.max_dt_px == pytest.approx(np.full((2, 1), largest / 2))


def test_fine_fields_are_kept_no_finer_than_twice_the_models_resolution() -> None:
    field = replace(make_field("a", 0), mpp_um=0.1)
    sampler = CropSampler(make_config(), [[field], [field]], channels=2)

    assert sampler._fields[0].mpp_um == 0.25
    assert tuple(sampler._planes[0].darkness.shape) == (3, 20, 20)


@pytest.mark.parametrize(("name", "pair"), [("scale", (1.2, 0.8)), ("blur_px", (0.0, 1.0))])
def test_a_range_that_is_none_is_refused(name: str, pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=f"{name}="):
        make_config(augment={name: pair})
