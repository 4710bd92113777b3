"""Random changes keep every cell under its point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.train.augment import change_light, change_stains, place, random_crop, restain, turn
from pipeline.train.config import AugmentConfig
from pipeline.train.fields import Field

SIDE = 64
PLAIN = AugmentConfig(
    stain=0, stain_shift=0, brightness=0, contrast=0, colour=0, blur=0, jpeg=0, overhang_px=0
)


def field_with_dot(x: int, y: int) -> Field:
    image = np.full((160, 200, 3), 240, np.uint8)
    image[y - 3 : y + 4, x - 3 : x + 4] = 20
    return Field(
        "dot", "g", image, np.array([x + 0.5]), np.array([y + 0.5]), np.ones(1, np.uint8), 0.25
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), x=st.integers(5, 194), y=st.integers(5, 154))
def test_a_dark_dot_stays_under_its_point(seed: int, x: int, y: int) -> None:
    crop = random_crop(
        np.random.default_rng(seed), field_with_dot(x, y), side_px=SIDE, mpp_um=0.5, config=PLAIN
    )

    darkness = (240.0 - crop.image.mean(axis=2)).clip(0)
    inside = 6 < crop.x_px[0] < SIDE - 6 and 6 < crop.y_px[0] < SIDE - 6
    if not inside:
        return
    rows, cols = np.indices(darkness.shape) + 0.5
    assert crop.x_px[0] == pytest.approx((cols * darkness).sum() / darkness.sum(), abs=0.1)
    assert crop.y_px[0] == pytest.approx((rows * darkness).sum() / darkness.sum(), abs=0.1)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_turning_moves_the_pixel_and_its_point_to_the_same_place(
    quarter_turns: int, mirror: bool
) -> None:
    crop = place(
        np.random.default_rng(1), field_with_dot(80, 60), side_px=96, mpp_um=0.5, config=PLAIN
    )
    marked = crop.image.copy()
    marked[:] = 0
    marked[int(crop.y_px[0]), int(crop.x_px[0])] = 255
    crop = type(crop)(marked, np.floor(crop.x_px) + 0.5, np.floor(crop.y_px) + 0.5, crop.label)

    turned = turn(crop, quarter_turns=quarter_turns, mirror=mirror)

    assert turned.image[int(turned.y_px[0]), int(turned.x_px[0]), 0] == 255


def test_one_seed_gives_one_crop() -> None:
    crops = [
        random_crop(
            np.random.default_rng(5),
            field_with_dot(90, 70),
            side_px=SIDE,
            mpp_um=0.5,
            config=AugmentConfig(),
        )
        for _ in range(2)
    ]

    assert (crops[0].image == crops[1].image).all()
    assert crops[0].x_px == crops[1].x_px


def test_a_change_switched_off_does_not_shift_the_others() -> None:
    draws = []
    for config in (PLAIN, AugmentConfig()):
        rng = np.random.default_rng(3)
        restain(rng, np.full((8, 8, 3), 200, np.uint8), config)
        draws.append(rng.random())

    assert draws[0] == draws[1]


def test_restaining_leaves_glass_white_and_unit_factors_change_nothing() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    glass = np.full((4, 4, 3), 255, np.uint8)

    unchanged = change_stains(image, np.ones(3), np.zeros(3)).astype(int)
    stained = change_stains(glass, np.array([1.2, 0.8, 1.2]), np.full(3, 0.05))

    assert np.abs(unchanged - image).max() <= 1
    assert (stained >= 254).all()


def test_more_contrast_darkens_dark_and_brightens_bright() -> None:
    image = np.array([[[60, 60, 60], [200, 200, 200]]], np.uint8)

    changed = change_light(image, np.zeros(3), 1.2)

    assert changed[0, 0, 0] < 60
    assert changed[0, 1, 0] > 200
