from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.io.density import bin_cells, density_frame, index_pct, write_density
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


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_the_group_opens_with_plain_zarr(tmp_path: Path, ome_zarr: OmeZarrVersion) -> None:
    points = cells_in_plane(3000)
    write_density(tmp_path / "density", points, frame=PLANE, mpp_um=0.5, ome_zarr=ome_zarr)
    group = zarr.open_group(tmp_path / "density", mode="r")
    counts = np.asarray(group["counts"])
    assert counts.dtype == np.uint32
    assert counts.sum() == 3000
    x, y = 1000 + 200 * 4, 2000 + 200 * 2  # bin (row 2, column 4)
    inside = (points.x_l0 // 200 == x // 200) & (points.y_l0 // 200 == y // 200)
    chosen = points.take(inside)
    assert counts[:, 2, 4].tolist() == [chosen.positive, chosen.negative]
    index = np.asarray(group["index_pct"])
    assert index[2, 4] == pytest.approx(100 * chosen.positive / len(chosen))
    assert group.attrs["bin_um"] == 50.0
    assert group.attrs["origin_l0"] == [1000, 2000]


def test_a_bin_without_cells_has_no_index(tmp_path: Path) -> None:
    write_density(tmp_path / "density", CellPoints.empty(), frame=PLANE, mpp_um=0.5)
    group = zarr.open_group(tmp_path / "density", mode="r")
    assert np.isnan(np.asarray(group["index_pct"])).all()


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
