"""Tiles with a halo give every pixel of a field once, white around it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.localizing import PeakRule
from pipeline.train.fields import Field
from pipeline.train.prediction import candidates, field_heatmap

Tiles = NDArray[np.uint8]
Heatmaps = NDArray[np.float32]


def brightness(tiles: Tiles) -> Heatmaps:
    """Stand for a network that sees one pixel: red and blue as two channels."""
    return tiles[..., [0, 2]].transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (96, 33), (150, 210)])
def test_every_pixel_comes_back_in_its_place(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)

    heatmap = field_heatmap(brightness, image, halo_px=32, core_px=64)

    assert (heatmap == image[..., [0, 2]].transpose(2, 0, 1)).all()


def test_a_tile_is_a_multiple_of_32_px_and_white_beyond_the_field() -> None:
    seen: list[Tiles] = []

    def remember(tiles: Tiles) -> Heatmaps:
        seen.append(tiles)
        return brightness(tiles)

    field_heatmap(remember, np.zeros((40, 70, 3), np.uint8), halo_px=32)

    (tile,) = seen
    assert tile.shape == (1, 96 + 64, 96 + 64, 3)
    assert (tile[0, :32] == 255).all()
    assert (tile[0, 32 + 40 :] == 255).all()
    assert not tile[0, 32 : 32 + 40, 32 : 32 + 70].any()


def test_a_peak_is_found_at_the_centre_of_its_pixel_with_the_higher_channels_label() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[20, 30, 0], image[50, 10, 2] = 200, 100
    none = np.empty(0)
    field = Field("f", "g", image, none, none, np.empty(0, np.uint8), 0.5)

    def unit(tiles: Tiles) -> Heatmaps:
        dark = np.where(tiles == 255, 0, tiles).astype(np.uint8)
        return np.asarray(brightness(dark) / 255, np.float32)

    rule = PeakRule.named("ccls", radius_um=3.1, mpp_um=0.5)
    peaks = candidates(unit, field, halo_px=32, rule=rule, floor=0.1)

    assert sorted(zip(peaks.x_px, peaks.y_px, peaks.label, strict=True)) == [
        (10.5, 50.5, 0),
        (30.5, 20.5, 1),
    ]
