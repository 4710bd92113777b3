from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v05.image import Image as Image05

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.errors import OutputError
from pipeline.io.density import (
    bin_cells,
    density_frame,
    index_pct,
    read_density,
    summed,
    write_density,
)
from pipeline.io.ome import OmeZarrVersion

PLANE = PlaneFrame(1000, 2000, 2.0, 2.0, 900, 500)  # at 0.5 um: 450 x 250 um


def cells_in_plane(count: int, seed: int = 0) -> CellPoints:
    rng = np.random.default_rng(seed)
    return CellPoints(
        rng.uniform(1000, 2800, count),
        rng.uniform(2000, 3000, count),
        rng.random(count, np.float32),
        (rng.random(count) < 0.3).astype(np.uint8),
    )


def test_a_bin_is_fifty_micrometres_on_both_axes() -> None:
    bins = density_frame(PLANE, mpp_um=0.5)
    assert (bins.width, bins.height) == (9, 5)
    assert (bins.scale_x, bins.scale_y) == (200.0, 200.0)
    assert (bins.origin_x_l0, bins.origin_y_l0) == (1000, 2000)


@given(st.integers(0, 200), st.integers(0, 99))
def test_every_cell_is_counted_once_under_its_label(count: int, seed: int) -> None:
    points = cells_in_plane(count, seed)
    counts = bin_cells(points, density_frame(PLANE, mpp_um=0.5))
    assert counts.sum(axis=(1, 2)).tolist() == [points.positive, points.negative]
    assert np.array_equal(np.isnan(index_pct(counts)), counts.sum(axis=0) == 0)


def write(path: Path, points: CellPoints, plane: PlaneFrame, ome_zarr: OmeZarrVersion) -> Path:
    write_density(path, points, frame=plane, mpp_um=0.5, ome_zarr=ome_zarr)
    return path


WIDE = PlaneFrame(1000, 2000, 2.0, 2.0, 9050, 5001)  # 91 x 51 bins of 50 um


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_both_images_open_with_plain_zarr(tmp_path: Path, ome_zarr: OmeZarrVersion) -> None:
    points = cells_in_plane(3000)
    write(tmp_path / "density", points, PLANE, ome_zarr)
    group = zarr.open_group(tmp_path / "density", mode="r")
    counts = np.asarray(group["counts.ome.zarr/0"])
    assert counts.dtype == np.uint32
    assert counts.sum() == 3000
    x, y = 1000 + 200 * 4, 2000 + 200 * 2  # bin (row 2, column 4)
    inside = (points.x_l0 // 200 == x // 200) & (points.y_l0 // 200 == y // 200)
    chosen = points.take(inside)
    assert counts[:, 2, 4].tolist() == [chosen.positive, chosen.negative]
    index = np.asarray(group["index.ome.zarr/0"])
    assert index[0, 2, 4] == pytest.approx(100 * chosen.positive / len(chosen))
    assert group.attrs["bin_um"] == 50.0
    assert group.attrs["origin_l0"] == [1000, 2000]


def test_a_bin_without_cells_has_no_index(tmp_path: Path) -> None:
    write(tmp_path / "density", CellPoints.empty(), PLANE, "0.5")
    group = zarr.open_group(tmp_path / "density", mode="r")
    assert np.isnan(np.asarray(group["index.ome.zarr/0"])).all()
    assert np.isnan(read_density(tmp_path / "density").index_pct).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_coarser_bins_hold_the_sums_of_finer_ones(height: int, width: int, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 50, (2, height, width), np.uint32)
    coarse = summed(counts)
    assert coarse.sum() == counts.sum()
    for row, col in np.ndindex(coarse.shape[1:]):
        block = counts[:, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        assert coarse[:, row, col].tolist() == block.sum(axis=(1, 2)).tolist()


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_upper_levels_hold_every_cell_and_the_index_of_the_sums(
    tmp_path: Path, ome_zarr: OmeZarrVersion
) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(1000, 19_000, 4000)
    label = (rng.random(4000) < x / 20_000).astype(np.uint8)  # crowded and thin, high and low
    points = CellPoints(x, rng.uniform(2000, 3000, 4000), np.ones(4000, np.float32), label)
    write(tmp_path / "density", points, WIDE, ome_zarr)
    group = zarr.open_group(tmp_path / "density", mode="r")
    for level, size in enumerate([(51, 91), (26, 46), (13, 23)]):
        counts = np.asarray(group[f"counts.ome.zarr/{level}"])
        assert counts.shape == (2, *size)
        assert counts.sum(axis=(1, 2)).tolist() == [points.positive, points.negative]
        found = read_density(tmp_path / "density", level)
        assert (found.bin_um, found.frame.scale_x) == (50.0 * 2**level, 200.0 * 2**level)
        assert np.array_equal(found.counts, bin_cells(points, found.frame))
        stored = np.asarray(group[f"index.ome.zarr/{level}"])[0]
        assert np.array_equal(stored, index_pct(counts), equal_nan=True)


@pytest.mark.parametrize(("ome_zarr", "model"), [("0.5", Image05), ("0.4", Image04)])
def test_metadata_meet_the_ome_zarr_models_and_the_reader_reads_all_levels(
    tmp_path: Path, ome_zarr: OmeZarrVersion, model: type[Image05] | type[Image04]
) -> None:
    path = write(tmp_path / "density", cells_in_plane(500), WIDE, ome_zarr)
    for name, labels in (
        ("counts.ome.zarr", ["positive", "negative"]),
        ("index.ome.zarr", ["Ki-67 index %"]),
    ):
        image = model.from_zarr(zarr.open_group(path / name, mode="r"))
        kept = image.model_dump(mode="json")["attributes"]
        kept = kept.get("ome", kept)
        assert [channel["label"] for channel in kept["omero"]["channels"]] == labels
        for level, dataset in enumerate(kept["multiscales"][0]["datasets"]):
            scale, place = dataset["coordinateTransformations"]
            side = 50.0 * 2**level
            assert scale["scale"] == [1.0, side, side]
            # the first bin covers [500, 500 + side) um; the slide's own first centre stands at 0
            assert place["translation"] == [0.0, 500 + side / 2 - 0.125, 250 + side / 2 - 0.125]
        location = parse_url(path / name)
        assert location is not None
        (node,) = Reader(location)()
        assert [level.shape[1:] for level in node.data] == [(51, 91), (26, 46), (13, 23)]
        assert node.metadata["channel_names"] == labels


def test_where_there_is_no_density_map_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="export OUT --zarr"):
        read_density(tmp_path / "density")
    write(tmp_path / "density", cells_in_plane(5), PLANE, "0.5")
    with pytest.raises(OutputError, match="no level 7"):
        read_density(tmp_path / "density", 7)


def test_the_same_cells_give_the_same_files_and_replace_older_ones(tmp_path: Path) -> None:
    for name, counts in (("a", (50, 3000)), ("b", (3000,))):
        for count in counts:
            write_density(tmp_path / name, cells_in_plane(count), frame=PLANE, mpp_um=0.5)
    left, right = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a", "b")
    )
    assert left == right


def test_cells_that_are_nowhere_or_off_the_slide_are_refused(tmp_path: Path) -> None:
    for bad, message in ((np.nan, "not finite"), (9e6, "outside")):
        points = cells_in_plane(10)
        points.x_l0[4] = bad
        with pytest.raises(ValueError, match=message):
            write_density(tmp_path / "density", points, frame=PLANE, mpp_um=0.5)
    assert list(tmp_path.iterdir()) == []
