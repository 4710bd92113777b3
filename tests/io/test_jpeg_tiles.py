"""JPEG tiles decoded beside OpenSlide: the same bits as OpenSlide's, or left to OpenSlide."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline.core.tiling import Box
from pipeline.errors import UnreadableSlideError
from pipeline.io.jpeg_tiles import JpegTiles
from pipeline.io.openslide_reader import OpenSlideReader

Pixels = NDArray[np.uint8]
APERIO = "Aperio Image Library v12.0\n1000x900 |AppMag = 40|MPP = 0.25"
WIDTH, HEIGHT, TILE = 1000, 900, 256


def stripes(width: int, height: int, seed: int = 0) -> Pixels:
    """Colours that change at every place: a tile taken for another, or another colour, shows."""
    rows, cols = np.mgrid[:height, :width]
    waves = [np.sin(rows / 9 + seed), np.cos(cols / 7), np.sin((rows + cols) / 23)]
    return (np.stack(waves, axis=2) * 90 + 128).astype(np.uint8)


def write(path: Path, *, photometric: str = "ycbcr", description: str | None = APERIO) -> Path:
    """A tiled JPEG TIFF of two levels, as Aperio's or as anybody's."""
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for level in range(2):
            tif.write(
                stripes(WIDTH // 4**level, HEIGHT // 4**level),
                tile=(TILE, TILE),
                photometric=photometric,
                compression="jpeg",
                subsampling=(2, 2) if photometric == "ycbcr" else (1, 1),
                description=description if level == 0 else None,
                subfiletype=int(level > 0),
                metadata=None,
            )
    return path


def tables(path: Path, level: int = 0) -> tuple[list[int], list[int]]:
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[level]
        return list(page.dataoffsets), list(page.databytecounts)


def shown_by(path: Path) -> tuple[JpegTiles, Callable[[int, Box], Pixels], list[Box]]:
    """The tiles of a file, what OpenSlide shows, and the boxes that OpenSlide was asked for."""
    reader, asked = OpenSlideReader(path), list[Box]()
    reader._tiles = None

    def shown(level: int, box: Box) -> Pixels:
        asked.append(box)
        return reader.read(level, box.x0, box.y0, box.width, box.height)

    return JpegTiles(path, reader.level_sizes, shown), shown, asked


@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
@pytest.mark.parametrize("description", [APERIO, None])
def test_every_box_has_the_bits_that_openslide_shows(
    tmp_path: Path, photometric: str, description: str | None
) -> None:
    path = write(tmp_path / "a.tif", photometric=photometric, description=description)
    tiles, shown, _ = shown_by(path)
    edges_x, edges_y = (0, 255, 256, 701, WIDTH), (0, 130, 512, HEIGHT)
    spans = (itertools.combinations(edges, 2) for edges in (edges_x, edges_y))
    for (x0, x1), (y0, y1) in itertools.product(*spans):
        box = Box(x0, y0, x1, y1)
        found = tiles.read(0, box)
        assert found is not None
        np.testing.assert_array_equal(found, shown(0, box))
    small = Box(3, 5, WIDTH // 4, HEIGHT // 4)
    np.testing.assert_array_equal(tiles.read(1, small), shown(1, small))


def test_openslide_is_asked_for_one_tile_of_a_level_and_no_more(tmp_path: Path) -> None:
    tiles, _, asked = shown_by(write(tmp_path / "a.tif"))
    for x in range(0, 700, 50):
        assert tiles.read(0, Box(x, 0, x + 300, 300)) is not None
    assert len(asked) == 1
    assert max(asked[0].width, asked[0].height) <= TILE


def test_a_level_that_openslide_shows_otherwise_is_left_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    sizes = OpenSlideReader(path).level_sizes
    tiles = JpegTiles(path, sizes, lambda _, box: np.zeros((box.height, box.width, 3), np.uint8))
    assert tiles.read(0, Box(0, 0, 300, 300)) is None


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_damaged_tile_is_left_to_openslide_which_refuses_it(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "a.tif")
    offsets, counts = tables(path)
    with path.open("r+b") as file:
        file.seek(offsets[5] + int(counts[5] * kept))
        file.write(bytes(counts[5] - int(counts[5] * kept)))
    tiles, _, _ = shown_by(path)
    assert tiles.read(0, Box(TILE, TILE, 2 * TILE, 2 * TILE)) is None
    reader = OpenSlideReader(path)
    with pytest.raises(UnreadableSlideError, match="damaged"):
        reader.read(0, TILE, TILE, TILE, TILE)
    expected = shown_by(path)[1](0, Box(0, 0, TILE, TILE))
    np.testing.assert_array_equal(reader.read(0, 0, 0, TILE, TILE), expected)


def replaced(path: Path, stream: bytes) -> Path:
    """Put a stream in the place of tile 5: at the end of the file, its table pointing there."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        page: Any = tif.pages[0]
        offsets, counts = list(page.dataoffsets), list(page.databytecounts)
        end = path.stat().st_size
        offsets[5], counts[5] = (end, len(stream)) if stream else (0, 0)
        page.tags["TileOffsets"].overwrite(offsets)
        page.tags["TileByteCounts"].overwrite(counts)
    with path.open("r+b") as file:
        file.seek(end)
        file.write(stream)
    return path


@pytest.mark.parametrize("side", [128, 512])
def test_a_tile_of_another_size_than_declared_is_left_to_openslide(
    tmp_path: Path, side: int
) -> None:
    stream = bytes(imagecodecs.jpeg8_encode(stripes(side, side, seed=4), level=1))
    tiles, _, _ = shown_by(replaced(write(tmp_path / "a.tif"), stream))
    assert tiles.read(0, Box(TILE, TILE, 2 * TILE, 2 * TILE)) is None
    assert tiles.read(0, Box(0, 0, TILE, TILE)) is not None


def test_an_absent_tile_is_left_to_openslide(tmp_path: Path) -> None:
    tiles, _, _ = shown_by(replaced(write(tmp_path / "a.tif"), b""))
    assert tiles.read(0, Box(0, 0, 2 * TILE, 2 * TILE)) is None
    assert tiles.read(0, Box(0, 0, TILE, TILE)) is not None


def test_a_tile_at_a_place_that_no_file_has_is_left_to_openslide(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    with tifffile.TiffFile(path, mode="r+") as tif:
        page: Any = tif.pages[0]
        offsets = list(page.dataoffsets)
        offsets[5] = 2**64 - 2
        page.tags["TileOffsets"].overwrite(offsets)
    tiles, _, _ = shown_by(path)
    assert tiles.read(0, Box(TILE, TILE, 2 * TILE, 2 * TILE)) is None
    assert tiles.read(0, Box(0, 0, TILE, TILE)) is not None


def test_a_level_whose_largest_tile_openslide_refuses_is_left_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")

    def refused(_level: int, _box: Box) -> Pixels:
        raise UnreadableSlideError("a.tif: damaged")

    tiles = JpegTiles(path, OpenSlideReader(path).level_sizes, refused)
    assert tiles.read(0, Box(0, 0, 300, 300)) is None


def test_tiles_that_are_no_jpeg_are_left_to_openslide(tmp_path: Path, write_pyramid: Any) -> None:
    path = write_pyramid(tmp_path / "a.tif", [stripes(600, 600)])
    tiles, _, _ = shown_by(path)
    assert tiles.read(0, Box(0, 0, 300, 300)) is None


def test_the_real_aperio_region_is_decoded_here(ki67_data: Path) -> None:
    path = ki67_data / "slides" / "CMU-1-Small-Region.svs"
    if not path.exists():
        pytest.skip("the real slide is not there")
    tiles, shown, _ = shown_by(path)
    box = Box(100, 200, 1900, 2967)
    found = tiles.read(0, box)
    assert found is not None
    np.testing.assert_array_equal(found, shown(0, box))
