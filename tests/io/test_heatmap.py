import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v05.image import Image as Image05

from pipeline.errors import OutputError
from pipeline.io.heatmap import create_heatmap, finish_heatmap, halved, read_level, write_block
from pipeline.io.ome import HeatmapPlan, OmeZarrVersion

WIDTH, HEIGHT, DOWNSAMPLE, CHUNK = 1000, 700, 4, 64


def make(path: Path, ome_zarr: OmeZarrVersion = "0.5") -> HeatmapPlan:
    return create_heatmap(
        path,
        plane_width=WIDTH,
        plane_height=HEIGHT,
        downsample=DOWNSAMPLE,
        chunk_px=CHUNK,
        mpp_um=0.5,
        origin_um=(100.0, 50.0),
        slide_mpp_um=(0.25, 0.25),
        ome_zarr=ome_zarr,
    )


def noise(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((2, HEIGHT, WIDTH), np.float32)


def write_whole(path: Path, heatmap: NDArray[np.float32], block_px: int) -> None:
    for y in range(0, HEIGHT, block_px):
        for x in range(0, WIDTH, block_px):
            write_block(path, x, y, heatmap[:, y : y + block_px, x : x + block_px])


def digests(path: Path) -> dict[str, str]:
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def brute_maximum(heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    rows, cols = -(-HEIGHT // DOWNSAMPLE), -(-WIDTH // DOWNSAMPLE)
    out = np.zeros((2, rows, cols), np.uint8)
    for row in range(rows):
        for col in range(cols):
            ys = slice(row * DOWNSAMPLE, (row + 1) * DOWNSAMPLE)
            xs = slice(col * DOWNSAMPLE, (col + 1) * DOWNSAMPLE)
            out[:, row, col] = np.rint(heatmap[:, ys, xs].max(axis=(1, 2)) * 255)
    return out


def test_level_zero_is_the_maximum_over_each_downsample_square(tmp_path: Path) -> None:
    make(tmp_path / "heatmap.ome.zarr")
    heatmap = noise()
    write_whole(tmp_path / "heatmap.ome.zarr", heatmap, CHUNK * DOWNSAMPLE)
    assert np.array_equal(read_level(tmp_path / "heatmap.ome.zarr"), brute_maximum(heatmap))


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_chunks_are_those_that_zarr_itself_writes(tmp_path: Path, ome_zarr: OmeZarrVersion) -> None:
    ours, theirs = (tmp_path / name / "heatmap.ome.zarr" for name in ("ours", "theirs"))
    heatmap = noise(3)
    heatmap[0, :300] = 0  # zarr keeps no file of a chunk that is empty
    for path in (ours, theirs):
        make(path, ome_zarr)
    write_whole(ours, heatmap, CHUNK * DOWNSAMPLE)
    finish_heatmap(ours)
    for level in range(3):
        zarr.open_array(theirs / str(level), mode="r+")[:] = read_level(ours, level)
    written, expected = digests(ours), digests(theirs)
    if ome_zarr == "0.4":  # finished: with all metadata in one file
        del written[".zmetadata"]
    assert written == expected


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_bytes_do_not_depend_on_the_blocks(tmp_path: Path, ome_zarr: OmeZarrVersion) -> None:
    heatmap = noise(1)
    found = []
    for name, chunks in (("a", 1), ("b", 2)):
        path = tmp_path / name / "heatmap.ome.zarr"
        make(path, ome_zarr)
        write_whole(path, heatmap, CHUNK * DOWNSAMPLE * chunks)
        finish_heatmap(path)
        found.append(digests(path))
    assert found[0] == found[1]


def test_each_upper_level_is_the_mean_of_the_one_below_until_one_chunk_holds_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    plan = make(path)
    write_whole(path, noise(2), CHUNK * DOWNSAMPLE)
    finish_heatmap(path)
    sizes = plan.level_sizes
    assert sizes == [(175, 250), (88, 125), (44, 63)]
    for level in range(1, len(sizes)):
        upper = read_level(path, level)
        assert upper.shape == (2, *sizes[level])
        assert np.array_equal(upper, halved(read_level(path, level - 1)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_halving_averages_what_is_there_and_rounds_half_up(
    height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (1, height, width), np.uint8)
    half = halved(pixels)
    for row in range(half.shape[1]):
        for col in range(half.shape[2]):
            mean = pixels[0, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].mean()
            assert half[0, row, col] == int(np.floor(mean + 0.5))


def test_an_empty_region_leaves_no_chunk_and_erases_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    make(path)
    block = np.ones((2, 256, 256), np.float32)
    write_block(path, 0, 0, block)
    assert (path / "0/c/0/0/0").is_file()
    write_block(path, 0, 0, np.zeros_like(block))
    assert not (path / "0/c/0/0/0").exists()


@pytest.mark.parametrize(
    ("x0", "y0", "height", "width"),
    [(4, 0, 256, 256), (0, 128, 256, 256), (0, 0, 256, 200), (768, 0, 256, 256), (-256, 0, 9, 256)],
)
def test_blocks_that_share_a_chunk_or_leave_the_plane_are_refused(
    tmp_path: Path, x0: int, y0: int, height: int, width: int
) -> None:
    make(tmp_path / "heatmap.ome.zarr")
    with pytest.raises(ValueError, match="one writer"):
        write_block(tmp_path / "heatmap.ome.zarr", x0, y0, np.zeros((2, height, width), np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    make(tmp_path / "heatmap.ome.zarr")
    block = np.full((2, 256, 256), bad, np.float32)
    with pytest.raises(ValueError, match="NaN or infinity"):
        write_block(tmp_path / "heatmap.ome.zarr", 0, 0, block)


def test_values_outside_zero_to_one_are_clipped(tmp_path: Path) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    make(path)
    block = np.stack([np.full((256, 256), -3, np.float32), np.full((256, 256), 7, np.float32)])
    write_block(path, 0, 0, block)
    level = read_level(path)
    assert level[0, :64, :64].max() == 0
    assert level[1, :64, :64].min() == 255


def test_creating_the_same_heatmap_again_keeps_what_it_holds_another_plan_replaces_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    make(path)
    write_block(path, 0, 0, np.ones((2, 256, 256), np.float32))
    make(path)
    assert read_level(path).max() == 255
    make(path, "0.4")
    assert read_level(path).max() == 0


def test_writing_where_there_is_no_heatmap_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no heatmap here"):
        write_block(tmp_path / "none.ome.zarr", 0, 0, np.zeros((2, 4, 4), np.float32))


def test_finishing_sweeps_the_rest_of_killed_writers(tmp_path: Path) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    make(path)
    rest = path / "0" / "c" / "0.0123.partial"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"half")
    finish_heatmap(path)
    assert not rest.exists()


@pytest.mark.parametrize(("ome_zarr", "model"), [("0.5", Image05), ("0.4", Image04)])
def test_metadata_meet_the_ome_zarr_models(
    tmp_path: Path, ome_zarr: OmeZarrVersion, model: type[Image05] | type[Image04]
) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    make(path, ome_zarr)
    finish_heatmap(path)
    image = model.from_zarr(zarr.open_group(path, mode="r"))
    kept = image.model_dump(mode="json")["attributes"]
    kept = kept.get("ome", kept)
    assert [axis["name"] for axis in kept["multiscales"][0]["axes"]] == ["c", "y", "x"]
    assert [channel["label"] for channel in kept["omero"]["channels"]] == ["positive", "negative"]


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_the_ome_zarr_reader_reads_all_levels(tmp_path: Path, ome_zarr: OmeZarrVersion) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    plan = make(path, ome_zarr)
    heatmap = noise(3)
    write_whole(path, heatmap, CHUNK * DOWNSAMPLE)
    finish_heatmap(path)
    location = parse_url(path)
    assert location is not None
    (node,) = Reader(location)()
    assert [level.shape for level in node.data] == [(2, *size) for size in plan.level_sizes]
    assert np.array_equal(np.asarray(node.data[0]), brute_maximum(heatmap))


def test_pixel_centres_agree_with_the_slide(tmp_path: Path) -> None:
    path = tmp_path / "heatmap.ome.zarr"
    make(path)
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    for level, dataset in enumerate(attributes["ome"]["multiscales"][0]["datasets"]):
        scale, translation = (t[t["type"]] for t in dataset["coordinateTransformations"])
        pixel_um = 0.5 * 4 * 2**level
        assert scale == [1.0, pixel_um, pixel_um]
        # the first pixel covers [50, 50 + pixel_um) um; the slide's own first centre stands at 0
        assert translation == [0.0, 50 + pixel_um / 2 - 0.125, 100 + pixel_um / 2 - 0.125]


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 8), st.sampled_from([16, 128]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_levels_halve_until_one_chunk_holds_the_last(
    width: int, height: int, downsample: int, chunk: int
) -> None:
    plan = HeatmapPlan(
        width, height, downsample, chunk, 0.5, (0.0, 0.0), (0.25, 0.25), "0.5", ("positive",)
    )
    sizes = plan.level_sizes
    assert max(sizes[-1]) <= chunk
    assert all(max(size) > chunk for size in sizes[:-1])
