import tracemalloc
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiffslide import TiffSlide

from pipeline.errors import OutputError
from pipeline.io.heatmap import create_heatmap, finish_heatmap, read_level, write_block
from pipeline.io.ome import HeatmapPlan, OmeZarrVersion
from pipeline.io.ome_tiff import write_ome_tiff

SPACE = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


def make(
    path: Path, width: int = 5000, height: int = 3400, ome_zarr: OmeZarrVersion = "0.5"
) -> HeatmapPlan:
    """A finished heatmap with noise in its first block and along its far border."""
    plan = create_heatmap(
        path,
        plane_width=width,
        plane_height=height,
        downsample=4,
        chunk_px=256,
        mpp_um=0.5,
        origin_um=(100.0, 50.0),
        slide_mpp_um=(0.25, 0.25),
        ome_zarr=ome_zarr,
    )
    rng = np.random.default_rng(0)
    for x, y in ((0, 0), (width - width % 1024, height - height % 1024)):
        block = rng.random((2, min(1024, height - y), min(1024, width - x)), np.float32)
        write_block(path, x, y, block)
    finish_heatmap(path)
    return plan


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_every_level_reads_back_pixel_by_pixel(tmp_path: Path, ome_zarr: OmeZarrVersion) -> None:
    heatmap, path = tmp_path / "heatmap.ome.zarr", tmp_path / "a.response.ome.tiff"
    plan = make(heatmap, ome_zarr=ome_zarr)
    write_ome_tiff(heatmap, path)
    with tifffile.TiffFile(path) as tif:
        (series,) = tif.series
        assert (tif.is_ome, series.axes, len(tif.pages)) == (True, "CYX", 2)
        assert [level.shape for level in series.levels] == [(2, *s) for s in plan.level_sizes]
        assert len(series.levels) == 4
        for number, level in enumerate(series.levels):
            assert np.array_equal(level.asarray(), read_level(heatmap, number))
            page = level.pages[0]
            assert isinstance(page, tifffile.TiffPage)
            assert (page.is_tiled, page.tile) == (True, (512, 512))


def test_the_metadata_name_size_channels_and_colours(tmp_path: Path) -> None:
    heatmap, path = tmp_path / "heatmap.ome.zarr", tmp_path / "a.response.ome.tiff"
    make(heatmap)
    write_ome_tiff(heatmap, path)
    with tifffile.TiffFile(path) as tif:
        assert tif.ome_metadata is not None
        image = ET.fromstring(tif.ome_metadata).find("ome:Image", SPACE)  # noqa: S314 - our own
    assert image is not None
    pixels = image.find("ome:Pixels", SPACE)
    assert pixels is not None
    assert image.get("Name") == "a.response"
    assert {key: pixels.get(key) for key in ("SizeX", "SizeY", "SizeC", "Type")} == {
        "SizeX": "1250",
        "SizeY": "850",
        "SizeC": "2",
        "Type": "uint8",
    }
    for axis in "XY":
        assert float(pixels.get(f"PhysicalSize{axis}", "nan")) == 2.0
        assert pixels.get(f"PhysicalSize{axis}Unit") == "µm"
    channels = pixels.findall("ome:Channel", SPACE)
    named = {c.get("Name"): int(c.get("Color", "0")) & 0xFFFFFFFF for c in channels}
    assert named == {"positive": 0xD55E00FF, "negative": 0x0072B2FF}


def test_tiffslide_opens_all_levels_with_the_right_resolution(tmp_path: Path) -> None:
    heatmap, path = tmp_path / "heatmap.ome.zarr", tmp_path / "a.ome.tiff"
    plan = make(heatmap)
    write_ome_tiff(heatmap, path)
    with TiffSlide(path) as slide:
        assert slide.level_dimensions == tuple((w, h) for h, w in plan.level_sizes)
        assert slide.properties["tiffslide.mpp-x"] == 2.0


def test_equal_maps_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name / "heatmap.ome.zarr")
        write_ome_tiff(tmp_path / name / "heatmap.ome.zarr", tmp_path / name / "x.ome.tiff")
    assert (tmp_path / "a" / "x.ome.tiff").read_bytes() == (
        tmp_path / "b" / "x.ome.tiff"
    ).read_bytes()


def test_memory_is_a_few_rows_of_tiles_whatever_the_map(tmp_path: Path) -> None:
    heatmap = tmp_path / "heatmap.ome.zarr"
    plan = make(heatmap, width=4000, height=65_000)
    height, width = plan.level_sizes[0]
    tracemalloc.start()
    try:
        write_ome_tiff(heatmap, tmp_path / "a.ome.tiff")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * height * width / 4, f"{peak} bytes"


def test_another_ending_and_a_missing_map_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.ome\.tiff"):
        write_ome_tiff(tmp_path / "heatmap.ome.zarr", tmp_path / "a.tiff")
    with pytest.raises(OutputError, match="no heatmap here"):
        write_ome_tiff(tmp_path / "heatmap.ome.zarr", tmp_path / "a.ome.tiff")
    assert list(tmp_path.iterdir()) == []
