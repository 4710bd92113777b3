"""The plane: dots where the frame says, one phase for all boxes, white outside, small overviews."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core.frame import PlaneFrame
from pipeline.core.tiling import Box
from pipeline.io.plane import SlidePlane, level_for, plane_over, read_overview
from pipeline.io.resolution import Resolution, resolve_resolution
from pipeline.io.slides import SlideReader, open_slide
from tests.peak_memory import PEAK_KB

Pixels = NDArray[np.uint8]
BOTH = pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
MPP_UM = 0.25
SIGMA_L0 = 4.0


def dotted(width: int, height: int, *, seed: int = 1) -> tuple[Pixels, NDArray[np.float64]]:
    """Dark dots on white at continuous places, and the places (N, 2) as level-0 (x, y)."""
    rng = np.random.default_rng(seed)
    step = 80
    y, x = np.mgrid[step // 2 : height - step // 2 : step, step // 2 : width - step // 2 : step]
    places = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-8, 8, (x.size, 2))
    image = np.full((height, width), 255.0)
    for place_x, place_y in places:
        rows = slice(int(place_y) - 20, int(place_y) + 21)
        cols = slice(int(place_x) - 20, int(place_x) + 21)
        dy = np.arange(rows.start, rows.stop) + 0.5 - place_y
        dx = np.arange(cols.start, cols.stop) + 0.5 - place_x
        bell = np.exp(-(dy[:, None] ** 2 + dx**2) / (2 * SIGMA_L0**2))
        image[rows, cols] -= 220 * bell
    return np.repeat(np.rint(image).astype(np.uint8)[..., None], 3, axis=2), places


def centroid(pixels: Pixels, x: float, y: float, reach: float) -> tuple[float, float]:
    """Centre of darkness around (x, y), continuous coordinates with pixel centres at +0.5."""
    rows = np.arange(int(y - reach), int(y + reach) + 1)
    cols = np.arange(int(x - reach), int(x + reach) + 1)
    dark = 255.0 - pixels[np.ix_(rows, cols)][..., 1]
    total = dark.sum()
    return float((dark.sum(0) * (cols + 0.5)).sum() / total), float(
        (dark.sum(1) * (rows + 0.5)).sum() / total
    )


@dataclass(frozen=True)
class Dots:
    """A pyramid of dots and where they are."""

    path: Path
    places_l0: NDArray[np.float64]
    image: Pixels


@pytest.fixture(scope="module", params=["even", "odd", "single"])
def dots(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    write_pyramid: Any,
    halved: Any,
) -> Dots:
    """Write dots: a pyramid of factor 2, one that odd sides make 2.001, and a single level."""
    width, height = (1200, 1000) if request.param == "even" else (1201, 1001)
    image, places = dotted(width, height)
    levels = [image] if request.param == "single" else [image, halved(image)]
    path = tmp_path_factory.mktemp("dots") / f"{request.param}.tif"
    return Dots(write_pyramid(path, levels), places, image)


def plane(slide: SlideReader, mpp_um: float) -> SlidePlane:
    return SlidePlane(slide, plane_over(slide, resolve_resolution(slide), mpp_um))


@BOTH
@pytest.mark.parametrize("mpp_um", [0.5, 0.37, 0.2505, 0.25, 0.2, 1.1])
def test_dots_land_where_the_frame_says(dots: Dots, reader: str, mpp_um: float) -> None:
    seen = plane(open_slide(dots.path, reader), mpp_um)
    pixels = seen.read(Box(0, 0, seen.frame.width, seen.frame.height))
    expected = seen.frame.from_l0(dots.places_l0[:, 0], dots.places_l0[:, 1])
    reach = 5 * SIGMA_L0 * MPP_UM / mpp_um
    for x, y in zip(*expected, strict=True):
        found_x, found_y = centroid(pixels, x, y, reach)
        assert abs(found_x - x) < 0.1
        assert abs(found_y - y) < 0.1


@BOTH
@pytest.mark.parametrize("mpp_um", [0.5, 0.37, 0.2505, 1.1])
def test_overlapping_boxes_agree_bit_for_bit(dots: Dots, reader: str, mpp_um: float) -> None:
    seen = plane(open_slide(dots.path, reader), mpp_um)
    side = min(seen.frame.width, seen.frame.height)
    whole = seen.read(Box(0, 0, seen.frame.width, seen.frame.height))
    rng = np.random.default_rng(int(mpp_um * 1e4))
    for _ in range(10):
        x0, y0 = (int(v) for v in rng.integers(0, side - 40, 2))
        x1, y1 = x0 + int(rng.integers(1, 40)), y0 + int(rng.integers(1, 200))
        part = seen.read(Box(x0, y0, x1, y1))
        y1_in = min(y1, seen.frame.height)
        assert np.array_equal(part[: y1_in - y0], whole[y0:y1_in, x0:x1])


def test_a_level_is_read_only_where_it_is_exact_enough(dots: Dots) -> None:
    pyramid = len(open_slide(dots.path).level_sizes) > 1
    odd = dots.image.shape[1] % 2
    for reader, level in (("openslide", int(not odd)), ("tiffslide", 1)):
        slide = open_slide(dots.path, reader)
        assert plane(slide, 0.5).level == (level if pyramid else 0)
        assert plane(slide, 0.37).level == 0
        assert plane(slide, 8.0).level == (1 if pyramid else 0)


@BOTH
def test_the_middle_of_2_by_2_pixels_is_their_mean(
    tmp_path: Path, write_pyramid: Any, halved: Any, reader: str
) -> None:
    image = np.random.default_rng(3).integers(0, 256, (500, 600, 3), np.uint8)
    seen = plane(open_slide(write_pyramid(tmp_path / "n.tif", [image]), reader), 0.5)
    assert np.array_equal(seen.read(Box(0, 0, 300, 250)), halved(image))
    assert np.array_equal(seen.read(Box(11, 7, 71, 97)), halved(image)[7:97, 11:71])


@settings(max_examples=25)
@given(
    x0=st.integers(-500, 700), y0=st.integers(-500, 700), w=st.integers(0, 90), h=st.integers(0, 90)
)
def test_it_is_white_outside_the_plane(vendor_tiff: Any, x0: int, y0: int, w: int, h: int) -> None:
    slide = open_slide(vendor_tiff("leica")[0])
    seen = plane(slide, 0.5)
    box = Box(x0, y0, x0 + w, y0 + h)
    pixels = seen.read(box)
    assert pixels.shape == (h, w, 3)
    assert pixels.dtype == np.uint8
    rows, cols = np.arange(y0, y0 + h), np.arange(x0, x0 + w)
    outside_y = (rows < 0) | (rows >= seen.frame.height)
    outside_x = (cols < 0) | (cols >= seen.frame.width)
    assert (pixels[outside_y] == 255).all()
    assert (pixels[:, outside_x] == 255).all()
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + w, 500), min(y0 + h, 550)
    if right > left and bottom > top:
        part = pixels[top - y0 : bottom - y0, left - x0 : right - x0]
        assert np.array_equal(part, seen.read(Box(left, top, right, bottom)))


def test_the_frame_begins_at_the_bounds(vendor_tiff: Any, vendor_image: Pixels) -> None:
    slide = open_slide(vendor_tiff("leica")[0])
    frame = plane_over(slide, resolve_resolution(slide), 0.25)
    assert frame == PlaneFrame(401, 773, 1.0, 1.0, 1000, 1100)
    assert np.array_equal(SlidePlane(slide, frame).read(Box(0, 0, 1000, 1100)), vendor_image)


def test_oblong_pixels_become_square(tmp_path: Path, write_pyramid: Any) -> None:
    image, places = dotted(900, 700)
    slide = open_slide(write_pyramid(tmp_path / "o.tif", [image[::2]]))
    resolution = Resolution(0.25, 0.5, "vendor")
    seen = SlidePlane(slide, plane_over(slide, resolution, 0.5))
    assert (seen.frame.width, seen.frame.height) == (450, 350)
    pixels = seen.read(Box(0, 0, 450, 350))
    for x, y in places[::7]:
        found_x, found_y = centroid(pixels, x / 2, y / 2, 10)
        assert abs(found_x - x / 2) < 0.1
        # every second row was left out, which shifts what is left by half of one
        assert abs(found_y - (y / 2 + 0.25)) < 0.1


@BOTH
def test_an_overview_is_the_plane_at_its_resolution(dots: Dots, reader: str) -> None:
    slide = open_slide(dots.path, reader)
    resolution = resolve_resolution(slide)
    overview = read_overview(slide, resolution, mpp_um=4)
    frame = overview.frame
    assert overview.rgb.shape == (frame.height, frame.width, 3)
    assert (frame.width, frame.height) == (76 if dots.image.shape[1] % 2 else 75, 63)
    whole = SlidePlane(slide, frame).read(Box(0, 0, frame.width, frame.height))
    assert np.array_equal(overview.rgb, whole)
    assert not overview.absent[: frame.height - 1, : frame.width - 1].any()
    assert overview.unreadable == ()


@BOTH
def test_an_overview_made_of_pieces_has_no_seams(
    tmp_path: Path, write_pyramid: Any, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    image, _ = dotted(1500, 1300)
    slide = open_slide(write_pyramid(tmp_path / "w.tif", [image]), reader)
    resolution = resolve_resolution(slide)
    whole = read_overview(slide, resolution, mpp_um=3.1)
    monkeypatch.setattr("pipeline.io.plane._PIECE_PX", 300)
    pieces = read_overview(slide, resolution, mpp_um=3.1)
    assert np.array_equal(whole.rgb, pieces.rgb)
    assert np.array_equal(whole.absent, pieces.absent)


@BOTH
def test_the_overview_knows_the_tiles_that_are_missing(vendor_tiff: Any, reader: str) -> None:
    path, facts = vendor_tiff("generic-sparse")
    slide = open_slide(path, reader)
    overview = read_overview(slide, resolve_resolution(slide), mpp_um=4)
    missing = np.zeros_like(overview.absent)
    for col, row in facts["sparse"]:
        missing[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16] = True
    # on a smaller level, tiles that hold any of it are stored; the last column and row reach out
    assert not (overview.absent & ~missing)[:68, :62].any()
    finest = read_overview(slide, resolve_resolution(slide), mpp_um=0.25)
    assert finest.absent.sum() == sum(
        min(256, 1000 - col * 256) * min(256, 1100 - row * 256) for col, row in facts["sparse"]
    )


def test_the_level_of_a_frame_follows_its_scale(vendor_tiff: Any) -> None:
    slide = open_slide(vendor_tiff("leica")[0])
    resolution = resolve_resolution(slide)
    levels = [level_for(slide, plane_over(slide, resolution, um)) for um in (0.25, 0.5, 1, 3, 8)]
    assert levels == [0, 0, 1, 1, 2]


MEMORY = (
    PEAK_KB
    + """
import sys
from pathlib import Path
from pipeline.io.plane import read_overview
from pipeline.io.resolution import Resolution
from pipeline.io.slides import open_slide
from tests.peak_memory import PEAK_KB
slide = open_slide(Path(sys.argv[1]), sys.argv[2])
slide.read(0, 0, 0, 64, 64)
before = peak_kb()
overview = read_overview(slide, Resolution(0.25, 0.25, "vendor"), mpp_um=8)
print((peak_kb() - before) / 1024, overview.rgb.shape[0])
"""
)


@pytest.mark.slow
@BOTH
def test_the_overview_of_a_large_single_level_takes_little_memory(
    tmp_path: Path, reader: str
) -> None:
    import imagecodecs
    import tifffile

    side, tile = 30_000, 512
    block = np.random.default_rng(0).integers(0, 256, (tile, tile, 3), np.uint8)
    stored = bytes(imagecodecs.zlib_encode(block.tobytes(), 1))
    path = tmp_path / "large.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        count = (-(-side // tile)) ** 2
        tif.write(
            (stored if number % 64 == 0 else b"" for number in range(count)),
            shape=(side, side, 3),
            dtype="uint8",
            tile=(tile, tile),
            photometric="rgb",
            compression="adobe_deflate",
            metadata=None,
        )
    command = [sys.executable, "-c", MEMORY, str(path), reader]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes, height = done.stdout.split()
    assert float(megabytes) < 300
    assert int(height) == 938
