"""Tissue against glass: pale and dark stains, uneven light, noise, pens, missing pixels."""

import io
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.core.tissue import TissueMask, detect_tissue, pieces

HEIGHT, WIDTH = 300, 420
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
BUMPS = 0.15 * np.sin(X / 20) * np.cos(Y / 27)
TISSUE = ((X - 200) / 120) ** 2 + ((Y - 140) / 95) ** 2 - BUMPS < 1

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def overview(
    od: tuple[float, float, float],
    *,
    shade: float = 0.0,
    white: tuple[int, int, int] = (243, 241, 238),
) -> Picture:
    """Textured tissue of a mean optical density on noisy, JPEG-coded, unevenly lit glass."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH)), 3)
    texture = np.clip(1 + 0.35 * texture / texture.std(), 0.3, 2.0)
    light = np.array(white) * (1 - shade * X / WIDTH)[..., None]
    picture = light * 10 ** (-np.array(od) * (texture * TISSUE)[..., None])
    noisy = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
    coded = io.BytesIO()
    Image.fromarray(noisy).save(coded, "JPEG", quality=60)
    return np.asarray(Image.open(coded))


def found(picture: Picture, absent: Mask | None = None) -> Mask:
    return detect_tissue(picture, um_per_px=8.0, min_piece_mm2=0.02, absent=absent).mask


def recall(mask: Mask) -> float:
    return float((mask & TISSUE).sum() / TISSUE.sum())


def false_share(mask: Mask) -> float:
    return float((mask & ~TISSUE).sum() / (~TISSUE).sum())


@pytest.mark.parametrize(
    "od",
    [(0.05, 0.05, 0.05), (0.03, 0.05, 0.07), (0.12, 0.15, 0.2), (0.3, 0.5, 0.2), (0.9, 1.1, 1.0)],
    ids=["pale grey", "pale brown", "immunostain", "H&E", "dark"],
)
def test_tissue_is_found_however_pale_or_dark_its_stain(od: tuple[float, float, float]) -> None:
    mask = found(overview(od))
    assert recall(mask) > 0.98
    assert false_share(mask) < 0.02


@pytest.mark.parametrize(
    "white", [(243, 241, 238), (225, 220, 195), (200, 200, 200), (255, 255, 255)]
)
def test_the_background_is_the_slides_own(white: tuple[int, int, int]) -> None:
    mask = found(overview((0.08, 0.1, 0.12), white=white))
    assert recall(mask) > 0.98
    assert false_share(mask) < 0.02


@pytest.mark.parametrize("od", [0.05, 0.12])
def test_uneven_light_is_not_tissue_and_hides_none(od: float) -> None:
    mask = found(overview((od, od, od), shade=0.07))
    assert recall(mask) > 0.98
    assert false_share(mask) < 0.02


@pytest.mark.parametrize("shade", [0.0, 0.08])
def test_glass_alone_gives_an_empty_mask(shade: float) -> None:
    assert not found(overview((0, 0, 0), shade=shade)).any()


@pytest.mark.parametrize("level", [255, 240, 180])
def test_one_flat_grey_is_glass(level: int) -> None:
    assert not found(np.full((200, 200, 3), level, np.uint8)).any()


def test_absent_pixels_are_never_tissue_and_change_nothing_beside_them() -> None:
    picture = overview((0.12, 0.15, 0.2)).copy()
    absent = X > 330
    picture[absent] = 0  # black, as some readers give what does not exist
    mask = found(picture, absent)
    assert not mask[absent].any()
    assert recall(mask) > 0.98
    assert false_share(mask) < 0.02


def test_a_white_fill_beside_glass_is_not_taken_for_the_background() -> None:
    picture = overview((0.12, 0.15, 0.2), white=(230, 226, 220)).copy()
    picture[:, 330:] = 255
    mask = found(picture)
    assert recall(mask) > 0.98
    assert false_share(mask) < 0.02


def test_wholly_absent_overviews_have_no_tissue() -> None:
    picture = np.zeros((50, 60, 3), np.uint8)
    assert not found(picture, np.ones((50, 60), bool)).any()


@pytest.mark.parametrize(
    "ink", [(40, 60, 170), (30, 140, 70), (70, 110, 210)], ids=["blue", "green", "light blue"]
)
def test_blue_and_green_pen_is_left_out_and_tissue_is_kept(ink: tuple[int, int, int]) -> None:
    picture = overview((0.12, 0.15, 0.2)).copy()
    line = (np.abs(X - 40 - 12 * np.sin(Y / 30)) < 8) | (np.abs(Y - 275) < 7)
    picture[line] = ink
    mask = found(picture)
    assert recall(mask) > 0.98
    assert not (mask & line).any()
    assert false_share(mask) < 0.02


def test_small_specks_are_dropped_and_small_holes_filled() -> None:
    picture = overview((0.3, 0.4, 0.3)).copy()
    picture[280:290, 400:410] = 120  # 100 px of 64 um2: 0.0064 mm2
    picture[130:142, 195:207] = picture[0, 0]  # a lumen of 0.009 mm2
    picture[160:200, 160:240] = picture[0, 0]  # a gap of 0.2 mm2
    mask = found(picture)
    assert not mask[280:290, 400:410].any()
    assert mask[130:142, 195:207].all()
    assert not mask[168:192, 168:232].any()


def test_all_pieces_are_kept_down_to_the_smallest_allowed() -> None:
    picture = np.full((200, 300, 3), 240, np.uint8)
    picture[20:60, 20:60] = 150
    picture[100:120, 200:220] = 150  # 400 px: 0.0256 mm2
    mask = found(picture)
    labels, number = pieces(mask)
    assert number == 2
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) == {0, 1, 2}


def test_pieces_touching_at_a_corner_are_one() -> None:
    mask = np.zeros((6, 6), bool)
    mask[:3, :3] = mask[3:, 3:] = True
    assert pieces(mask)[1] == 1


def test_pieces_of_nothing_are_none() -> None:
    labels, number = pieces(np.zeros((4, 5), bool))
    assert number == 0
    assert not labels.any()


def test_area_counts_square_pixels() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    assert TissueMask(mask, 200.0).area_mm2 == pytest.approx(2.0)


def test_large_overviews_are_masked_like_small_ones() -> None:
    picture = overview((0.12, 0.15, 0.2))
    large = np.tile(picture, (6, 3, 1))  # over the sample size, several strips
    assert recall(found(large)[:HEIGHT, :WIDTH]) > 0.98
    assert false_share(found(large)[:HEIGHT, :WIDTH]) < 0.02


def shrunk(picture: Picture, mpp_um: float) -> Picture:
    height, width = picture.shape[:2]
    size = (round(width * mpp_um / 8), round(height * mpp_um / 8))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def test_real_aperio_tissue_is_found_and_its_glass_is_not(ki67_data: Path) -> None:
    slide = openslide.OpenSlide(ki67_data / "slides" / "CMU-1-Small-Region.svs")
    picture = shrunk(
        np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")), 0.499
    )
    mask = found(picture)
    assert 0.38 < mask.mean() < 0.48
    assert mask[100:180, 50:70].mean() > 0.95  # the body of the skin
    assert not mask[:20, :40].any()
    assert not mask[150:, :25].any()


def test_real_round_core_is_found_to_its_rim(ki67_data: Path) -> None:
    picture = shrunk(tifffile.imread(ki67_data / "slides" / "HE_example.tif"), 0.5)
    mask = found(picture)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    distance = np.hypot(x - 43, y - 46.5)
    assert mask[distance < 38].mean() > 0.98
    assert not mask[:6, :6].any()
    assert not mask[-6:, :6].any()


def test_real_camelyon_overview_keeps_tissue_and_leaves_dust(ki67_data: Path) -> None:
    slide = openslide.OpenSlide(ki67_data / "slides" / "ezwsi_camelyon.dcm")
    picture = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    mask = detect_tissue(picture, um_per_px=29.0, min_piece_mm2=0.02).mask
    assert 0.24 < mask.mean() < 0.33
    assert mask[250:450, 150:220].mean() > 0.95


def fields(folder: Path, mpp_um: float) -> Picture:
    pictures = [
        shrunk(np.asarray(Image.open(path).convert("RGB")), mpp_um)
        for path in sorted(folder.iterdir())[:18]
    ]
    return np.vstack([np.hstack(pictures[row * 6 : row * 6 + 6]) for row in range(3)])


@pytest.mark.parametrize(("source", "mpp_um"), [("bcdata_sample", 0.25), ("shidc_sample", 0.161)])
def test_real_ki67_fields_without_any_glass_are_all_tissue(
    ki67_data: Path, source: str, mpp_um: float
) -> None:
    assert found(fields(ki67_data / source / "images", mpp_um)).mean() > 0.98


@pytest.mark.parametrize(
    ("source", "mpp_um", "white"),
    [("bcdata_sample", 0.25, (238, 236, 233)), ("shidc_sample", 0.161, (242, 241, 224))],
)
def test_real_ki67_fields_on_glass_are_found_whole(
    ki67_data: Path, source: str, mpp_um: float, white: tuple[int, int, int]
) -> None:
    tissue = fields(ki67_data / source / "images", mpp_um)
    height, width = tissue.shape[:2]
    picture = np.full((height + 120, width + 120, 3), white, np.uint8)
    picture[60 : 60 + height, 60 : 60 + width] = tissue
    mask = found(picture)
    assert mask[60 : 60 + height, 60 : 60 + width].mean() > 0.98
    assert not mask[:56].any()
    assert not mask[:, :56].any()
