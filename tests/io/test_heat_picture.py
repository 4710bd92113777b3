from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.errors import OutputError
from pipeline.io.density import write_density
from pipeline.io.heat_picture import index_picture, response_picture, write_heat_picture
from pipeline.io.heatmap import create_heatmap, finish_heatmap, write_block
from pipeline.io.pictures import index_colour


def make_slide(folder: Path) -> Path:
    """One strong positive place top left, one negative cell bottom right."""
    heatmap = folder / "heatmap.ome.zarr"
    create_heatmap(
        heatmap, plane_width=400, plane_height=300, downsample=4, chunk_px=64, mpp_um=0.5
    )
    block = np.zeros((2, 256, 256), np.float32)
    block[0, 10:20, 10:20] = 1.0
    write_block(heatmap, 0, 0, block)
    finish_heatmap(heatmap)
    points = CellPoints(
        np.array([15.0, 399.0]),
        np.array([15.0, 299.0]),
        np.ones(2, np.float32),
        np.array([1, 0], np.uint8),
    )
    frame = PlaneFrame(0, 0, 1.0, 1.0, 400, 300)
    write_density(folder / "density", points, frame=frame, mpp_um=0.5)
    Image.new("RGB", (80, 60), (240, 230, 235)).save(folder / "thumbnail.jpg")
    return folder


def test_the_panels_show_what_the_files_hold(tmp_path: Path) -> None:
    slide = make_slide(tmp_path)
    response = np.asarray(response_picture(slide))
    assert response[3, 3].tolist() == [0xD5, 0x5E, 0x00]
    assert not response[40:, 40:].any()
    index = np.asarray(index_picture(slide))
    assert index.shape == (3, 4, 3)
    assert index[0, 0].tolist() == np.rint(index_colour(np.array([100.0]))[0]).tolist()
    assert index[2, 3].tolist() == np.rint(index_colour(np.array([0.0]))[0]).tolist()
    assert index[1, 1].tolist() == [255, 255, 255]


def test_the_picture_is_three_panels_wide_and_the_same_every_time(tmp_path: Path) -> None:
    slide = make_slide(tmp_path)
    for name in ("a.png", "b.png"):
        write_heat_picture(slide, tmp_path / name, panel_px=200)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.width > 600
        assert opened.height > 150


def test_a_slide_without_its_files_is_named(tmp_path: Path) -> None:
    make_slide(tmp_path)
    (tmp_path / "thumbnail.jpg").unlink()
    with pytest.raises(OutputError, match=r"thumbnail\.jpg"):
        write_heat_picture(tmp_path, tmp_path / "a.png")
