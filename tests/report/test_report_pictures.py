import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.frame import PlaneFrame
from pipeline.io.density import DensityMap
from pipeline.io.pictures import write_thumbnail
from pipeline.report.layers import index_rgba, round_length
from pipeline.report.pictures import Picture, embedded, linked


def noise(path: Path, width: int = 900, height: int = 600) -> Path:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    write_thumbnail(path, rgb)
    return path


def content(picture: Picture) -> bytes:
    return base64.b64decode(picture.src.partition(",")[2])


@pytest.mark.parametrize("most", [120_000, 20_000, 3_000])
def test_an_embedded_picture_keeps_to_its_size(tmp_path: Path, most: int) -> None:
    picture = embedded(noise(tmp_path / "a.jpg"), side_px=400, most_bytes=most)
    assert picture is not None
    assert len(content(picture)) <= most
    with Image.open(io.BytesIO(content(picture))) as opened:
        assert opened.size == (picture.width, picture.height)
        assert max(opened.size) <= 400
        assert abs(opened.size[0] / opened.size[1] - 1.5) < 0.05


def test_a_missing_or_damaged_picture_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    for name in ("bad.jpg", "none.jpg"):
        assert embedded(tmp_path / name, side_px=100, most_bytes=9000) is None
        assert linked(tmp_path / name, name) is None


def test_a_linked_picture_is_named_by_a_safe_address(tmp_path: Path) -> None:
    picture = linked(noise(tmp_path / "a b#.jpg", 90, 60), "../a b#.jpg")
    assert picture == Picture("../a%20b%23.jpg", 90, 60)


def test_the_local_index_is_seen_where_cells_are_and_coloured_by_the_index() -> None:
    counts = np.zeros((2, 40, 40), np.uint32)
    counts[0, 5:15, 5:15] = 40  # all positive
    counts[1, 25:35, 25:35] = 40  # all negative
    rgba = index_rgba(DensityMap(counts, PlaneFrame(0, 0, 1.0, 1.0, 40, 40), 50.0)).astype(int)
    assert rgba[10, 10, 0] > rgba[10, 10, 2] + 100  # vermilion
    assert rgba[30, 30, 2] > rgba[30, 30, 0] + 100  # blue
    assert min(rgba[10, 10, 3], rgba[30, 30, 3]) > 150
    assert rgba[38, 2, 3] == 0


def test_a_large_map_becomes_a_small_picture_of_the_same_cells() -> None:
    counts = np.ones((2, 1000, 700), np.uint32)
    rgba = index_rgba(DensityMap(counts, PlaneFrame(0, 0, 1.0, 1.0, 700, 1000), 50.0))
    assert max(rgba.shape[:2]) <= 256


@pytest.mark.parametrize(("most", "length"), [(99.0, 50.0), (100.0, 100.0), (2400.0, 2000.0)])
def test_a_scale_bar_has_a_round_length(most: float, length: float) -> None:
    assert round_length(most) == length
