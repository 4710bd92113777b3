"""Planted artefacts are found, in synthetic and in real fields; clean fields are left alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import QcSettings
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.core.qc.bins import BinLayout
from pipeline.core.qc.judge import MeasuredSlide, Quality, judge
from pipeline.core.qc.look import OverviewQuality
from pipeline.core.qc.measures import measure_tile
from pipeline.core.qc.overview import look_over
from pipeline.core.qc.rules import REASONS as REASONS_OF_BINS
from pipeline.core.tissue import detect_tissue
from pipeline.errors import ConfigError, OutputError
from pipeline.io.quality import read_quality, write_quality
from pipeline.io.quality_picture import write_quality_picture
from pipeline.io.synthetic import (
    DEMO_RANGES,
    FIRST_UNSEEN_SEED,
    SyntheticSlide,
    render_field,
    with_artefacts,
)
from pipeline.io.synthetic.artefacts import (
    LOCAL_KINDS,
    Artefact,
    field_artefact,
    plant,
    planted_mask,
    write_artefacts,
)

SIDE, MPP_UM, BIN_PX = 1024, 0.5, 128
REASONS = {
    "blur": {"out_of_focus"},
    "pen_blue": {"pen"},
    "pen_green": {"pen"},
    "pen_black": {"debris"},
    "fold": {"fold"},
    "bubble": {"debris", "out_of_focus"},
    "debris": {"debris"},
    "pigment": {"pigment"},
}
STAINS = {
    "pale": {"understained", "no_haematoxylin"},
    "overstained": {"overstained"},
    "no_haematoxylin": {"no_haematoxylin"},
    "h_and_e": {"not_ki67_like"},
}

EVERY_REASON = QcSettings(exclude=REASONS_OF_BINS)

Rgb = NDArray[np.uint8]


def halved(image: Rgb) -> Rgb:
    rows, cols = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    parts = [image[y:rows:2, x:cols:2].astype(np.uint16) for y in (0, 1) for x in (0, 1)]
    return ((sum(parts[1:], parts[0]) + 2) // 4).astype(np.uint8)


def sheet(images: list[Rgb]) -> Rgb:
    """Fields side by side, ``SIDE`` pixels square."""
    side = min(min(image.shape[:2]) for image in images)
    some = [image[:side, :side] for image in images]
    across = range(-(-SIDE // side))
    rows = [np.hstack([some[(3 * row + col) % len(some)] for col in across]) for row in across]
    return np.vstack(rows)[:SIDE, :SIDE]


@pytest.fixture(scope="module")
def synthetic() -> Rgb:
    fields = [render_field(FIRST_UNSEEN_SEED + n, 560, 0.25, DEMO_RANGES) for n in range(3)]
    return sheet([halved(field.image) for field in fields])


@pytest.fixture(scope="module", params=["bcdata_sample", "shidc_sample"])
def real(request: pytest.FixtureRequest, ki67_data: Path) -> Rgb:
    names = sorted((ki67_data / request.param / "images").iterdir())[:9]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in names]
    if request.param == "shidc_sample":  # 0.16 um per pixel
        images = [np.asarray(Image.fromarray(image).reduce(3)) for image in images]
    else:
        images = [halved(image) for image in images]
    return sheet(images)


def measured(image: Rgb) -> MeasuredSlide:
    none = np.zeros((SIDE // 16, SIDE // 16), bool)
    return MeasuredSlide(
        values=measure_tile(image, bin_px=BIN_PX, mpp_um=MPP_UM),
        layout=BinLayout(PlaneFrame(0, 0, 1.0, 1.0, SIDE, SIDE), BIN_PX),
        overview=OverviewQuality((255.0, 255.0, 255.0), none, 0.0, 1.0),
        tissue=~none,
        over=PlaneFrame(0, 0, 16.0, 16.0, SIDE // 16, SIDE // 16),
        um_per_px=8.0,
    )


def quality_of(image: Rgb) -> Quality:
    return judge(measured(image), CellPoints.empty(), EVERY_REASON)


def look_at(image: Rgb) -> MeasuredSlide:
    """Measure a slide with glass as the program does, its overview included."""
    rows = image.astype(np.float64).reshape(SIDE // 16, 16, SIDE // 16, 16, 3)
    overview = rows.mean(axis=(1, 3)).round().astype(np.uint8)
    tissue = detect_tissue(overview, um_per_px=8.0, min_piece_mm2=0.01).mask
    look = look_over(overview, tissue, np.zeros_like(tissue), 8.0)
    whole = measured(image)
    values = measure_tile(image, bin_px=BIN_PX, mpp_um=MPP_UM, glass=look.glass)
    return replace(whole, values=values, overview=look, tissue=tissue)


def planted(image: Rgb, artefact: Artefact) -> Rgb:
    red, green, blue = (float(value) for value in np.percentile(image, 99, axis=(0, 1)))
    return plant(image, [artefact], mpp_um=MPP_UM, glass=(red, green, blue))


def recall_and_spill(image: Rgb, kind: str) -> tuple[float, float]:
    """Share found of the bins wholly covered, and share left out of the bins not covered."""
    artefact = field_artefact(kind, SIDE * MPP_UM, 5)
    quality = quality_of(planted(image, artefact))
    truth = planted_mask(artefact, SIDE, SIDE, mpp_um=MPP_UM)
    bins = SIDE // BIN_PX
    share = truth.reshape(bins, BIN_PX, bins, BIN_PX).mean(axis=(1, 3))
    step = 128 // 16
    wanted = np.any([quality.reasons[name] for name in REASONS[kind]], axis=0)[::step, ::step]
    covered = share >= min(0.99, 0.999 * share.max())
    return float(wanted[covered].mean()), float(quality.excluded[::step, ::step][share == 0].mean())


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_artefacts_in_synthetic_tissue_are_found_and_nothing_beside_them(
    kind: str, synthetic: Rgb
) -> None:
    recall, spill = recall_and_spill(synthetic, kind)
    assert recall >= 0.8
    assert spill <= 0.05


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_artefacts_in_real_tissue_are_found_and_nothing_beside_them(kind: str, real: Rgb) -> None:
    recall, spill = recall_and_spill(real, kind)
    assert recall >= (0.5 if kind == "pigment" else 0.7)
    assert spill <= 0.05


def test_clean_synthetic_tissue_is_left_alone(synthetic: Rgb) -> None:
    quality = quality_of(synthetic)
    assert quality.flags == ()
    assert not quality.excluded.any()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6])
def test_a_clean_slide_is_left_alone_whatever_its_index(share: float) -> None:
    seed = FIRST_UNSEEN_SEED + 20 + round(100 * share)
    made = SyntheticSlide(seed, 2048, 2048, positive_share=share, coverage=0.5, pieces=1)
    quality = judge(
        look_at(halved(made.pixels(0, 0, 2048, 2048))), CellPoints.empty(), EVERY_REASON
    )
    assert quality.flags == ()
    assert not quality.excluded.any()
    assert quality.measures["bins"] > 20


def test_clean_real_tissue_is_left_alone(real: Rgb) -> None:
    quality = quality_of(real)
    assert quality.flags == ()
    assert not quality.excluded.any()


@pytest.mark.parametrize("kind", STAINS)
def test_wrong_stains_of_synthetic_tissue_are_flagged(kind: str, synthetic: Rgb) -> None:
    assert STAINS[kind] & set(quality_of(planted(synthetic, Artefact(kind))).flags)


def test_real_h_and_e_is_no_ki67(ki67_data: Path) -> None:
    names = sorted((ki67_data / "brca_m2c" / "images").iterdir())[:9]
    fields = [np.asarray(Image.open(path).convert("RGB"))[:400, :400] for path in names]
    assert "not_ki67_like" in quality_of(sheet(fields)).flags


def test_an_unknown_artefact_is_refused() -> None:
    with pytest.raises(ConfigError, match="'coffee' is unknown; known: blur"):
        Artefact("coffee")
    slide = SyntheticSlide(FIRST_UNSEEN_SEED, 800, 800)
    with pytest.raises(ConfigError, match="'tea' is unknown"):
        with_artefacts(slide, ("tea",))


def test_rectangles_of_a_slide_with_artefacts_agree() -> None:
    slide = SyntheticSlide(FIRST_UNSEEN_SEED + 4, 1000, 900, coverage=0.8, pieces=1)
    slide = with_artefacts(slide, ("blur", "fold", "pen_blue", "pigment"))
    whole, part = slide.pixels(0, 0, 700, 500), slide.pixels(320, 200, 300, 250)
    apart = whole[200:450, 320:620].astype(int) - part
    assert np.abs(apart).max() <= 3
    assert not np.array_equal(whole, SyntheticSlide(slide.seed, 1000, 900).pixels(0, 0, 700, 500))


def test_outlines_of_artefacts_are_in_level_0_pixels(tmp_path: Path) -> None:
    drawn = (Artefact("debris", ((100.0, 50.0),), 20.0), Artefact("pale"))
    write_artefacts(tmp_path / "a.geojson", drawn, mpp_um=0.25)
    stored = json.loads((tmp_path / "a.geojson").read_text())
    corners = np.array(stored["features"][0]["geometry"]["coordinates"][0])
    assert corners.max(axis=0).tolist() == [480.0, 280.0]
    assert stored["whole_slide"] == ["pale"]


def test_what_is_stored_is_judged_alike(synthetic: Rgb, tmp_path: Path) -> None:
    slide = measured(planted(synthetic, field_artefact("debris", SIDE * MPP_UM, 1)))
    quality = judge(slide, CellPoints.empty(), QcSettings())
    unreadable = np.zeros_like(slide.tissue)
    unreadable[3, 4] = True
    write_quality(tmp_path / "qc.zarr", slide, quality, unreadable=unreadable)
    again, lost = read_quality(tmp_path / "qc.zarr")
    assert np.array_equal(lost, unreadable)
    assert np.array_equal(again.values, slide.values, equal_nan=True)
    other = judge(again, CellPoints.empty(), QcSettings())
    assert (other.flags, other.area_mm2, other.measures) == (
        quality.flags,
        quality.area_mm2,
        quality.measures,
    )


def test_a_missing_store_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no quality measures of this version; run the slide"):
        read_quality(tmp_path / "qc.zarr")


def test_the_picture_shows_each_reason_in_its_colour(tmp_path: Path) -> None:
    rgb = np.full((300, 800, 3), 235, np.uint8)
    masks = {name: np.zeros((300, 800), bool) for name in ("fold", "pen")}
    masks["fold"][50:150, 100:300] = True
    write_quality_picture(tmp_path / "qc.jpg", rgb, masks, {"fold": 0.1})
    picture = np.asarray(Image.open(tmp_path / "qc.jpg").convert("RGB")).astype(int)
    assert picture.shape[0] > 300
    inside, outside = picture[60:140, 110:290].mean((0, 1)), picture[200:280, 400:600].mean((0, 1))
    assert inside[0] - inside[2] > 60
    assert abs(outside[0] - outside[2]) < 5
