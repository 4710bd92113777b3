"""Written pyramids: two readers agree on size, resolution and pixels; nothing half-written."""

import tracemalloc
from pathlib import Path

import numpy as np
import openslide
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiffslide import TiffSlide

from pipeline.errors import ConfigError
from pipeline.io.pyramid import level_sizes, quarter, write_pyramid

WIDTH, HEIGHT = 4403, 901


def smooth_image(width: int, height: int) -> np.ndarray:
    x, y = np.arange(width)[None, :, None], np.arange(height)[:, None, None]
    wave = np.sin(x / np.array([60, 75, 90])) * np.cos(y / np.array([80, 70, 65]))
    return np.asarray(150 + 100 * wave, np.uint8)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return smooth_image(WIDTH, HEIGHT)


@pytest.fixture(scope="module", params=[256, 512])
def slide(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, image: np.ndarray
) -> Path:
    path = tmp_path_factory.mktemp("pyramid") / "made.tif"
    write_pyramid(
        path, WIDTH, HEIGHT, 0.31, lambda y, n: image[y : y + n], tile_px=request.param, quality=90
    )
    return path


def test_both_readers_see_the_same_levels_and_resolution(slide: Path) -> None:
    with openslide.OpenSlide(slide) as one, TiffSlide(slide) as two:
        expected = tuple(level_sizes(WIDTH, HEIGHT))
        assert one.level_dimensions == two.level_dimensions == expected
        assert one.properties["openslide.vendor"] == "aperio"
        for axis in "xy":
            assert float(one.properties[f"openslide.mpp-{axis}"]) == 0.31
            assert float(two.properties[f"tiffslide.mpp-{axis}"]) == 0.31


def test_level_0_is_the_same_pixel_for_pixel(slide: Path, image: np.ndarray) -> None:
    with openslide.OpenSlide(slide) as one, TiffSlide(slide) as two:
        first, second = (
            np.asarray(reader.read_region((0, 0), 0, (WIDTH, HEIGHT)))[..., :3]
            for reader in (one, two)
        )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first.astype(int) - image).mean() < 2


def test_each_level_is_the_mean_of_the_one_above(slide: Path, image: np.ndarray) -> None:
    expected = image
    with openslide.OpenSlide(slide) as reader:
        for level in range(1, reader.level_count):
            expected = quarter(expected)
            size = reader.level_dimensions[level]
            seen = np.asarray(reader.read_region((0, 0), level, size))[..., :3]
            assert np.abs(seen.astype(int) - expected).mean() < 3


@given(height=st.integers(1, 41), width=st.integers(1, 41))
@settings(max_examples=30)
def test_a_quarter_is_the_rounded_mean(height: int, width: int) -> None:
    rows = np.random.default_rng(height * 50 + width).integers(0, 256, (height, width, 3), np.uint8)
    spare = ((0, -height % 4), (0, -width % 4), (0, 0))
    blocks = np.pad(rows, spare, mode="edge").astype(int)
    blocks = blocks.reshape(-(-height // 4), 4, -(-width // 4), 4, 3)
    expected = (blocks.sum(axis=(1, 3)) + 8) // 16
    np.testing.assert_array_equal(quarter(rows), expected)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 200), (1024, 700), (1025, 3)])
def test_small_and_thin_slides_open(tmp_path: Path, width: int, height: int) -> None:
    image = smooth_image(width, height)
    path = tmp_path / "small.svs"
    write_pyramid(path, width, height, 0.5, lambda y, n: image[y : y + n])
    with openslide.OpenSlide(path) as one, TiffSlide(path) as two:
        assert one.dimensions == two.dimensions == (width, height)
        np.testing.assert_array_equal(
            np.asarray(one.read_region((0, 0), 0, (width, height)))[..., :3],
            np.asarray(two.read_region((0, 0), 0, (width, height)))[..., :3],
        )


def test_a_failed_writer_leaves_nothing(tmp_path: Path) -> None:
    def broken(y: int, count: int) -> np.ndarray:
        if y:
            raise RuntimeError("no more rows")
        return np.zeros((count, 2000, 3), np.uint8)

    with pytest.raises(RuntimeError, match="no more rows"):
        write_pyramid(tmp_path / "broken.tif", 2000, 1500, 0.25, broken)
    assert not list(tmp_path.iterdir())


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows 0"):
        write_pyramid(tmp_path / "a.tif", 64, 64, 0.25, lambda _, n: np.zeros((n, 63, 3), np.uint8))


@pytest.mark.parametrize("wrong", [{"width": 0}, {"mpp_um": 0.0}, {"tile_px": 300}, {"quality": 0}])
def test_impossible_slides_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    given_ = {"width": 64, "height": 64, "mpp_um": 0.25, **wrong}
    with pytest.raises(ConfigError):
        write_pyramid(
            tmp_path / "a.tif",
            read_rows=lambda _, n: np.zeros((n, 64, 3), np.uint8),
            **given_,  # type: ignore[arg-type]
        )


def test_memory_does_not_grow_with_the_height(tmp_path: Path) -> None:
    strip = smooth_image(1500, 512)
    peaks = []
    for height in (1024, 8192):
        tracemalloc.start()
        write_pyramid(tmp_path / "tall.tif", 1500, height, 0.25, lambda _, n: strip[:n])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
