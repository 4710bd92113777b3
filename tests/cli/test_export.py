import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.io.cells import write_cells
from pipeline.io.density import bin_cells, read_density, write_density
from pipeline.io.done import write_done
from pipeline.io.heatmap import create_heatmap, finish_heatmap, read_level, write_block
from pipeline.io.results import Counts, Ki67, ScoreRecord, SlideIdentity, write_score
from tests.io.qupath_reader import read_objects

PLANE = PlaneFrame(1000, 2000, 2.0, 2.0, 1500, 1000)
CELLS = 400


def cells(seed: int) -> CellPoints:
    rng = np.random.default_rng(seed)
    return CellPoints(
        rng.uniform(1000, 4000, CELLS),
        rng.uniform(2000, 4000, CELLS),
        rng.random(CELLS, np.float32),
        (rng.random(CELLS) < 0.4).astype(np.uint8),
    )


def make_result(out: Path, slide_id: str, name: str, seed: int) -> None:
    folder, points = out / "slides" / slide_id, cells(seed)
    write_cells(folder / "cells.parquet", points, {})
    create_heatmap(
        folder / "heatmap.ome.zarr",
        plane_width=1500,
        plane_height=1000,
        downsample=4,
        chunk_px=128,
        mpp_um=0.5,
        origin_um=(250.0, 500.0),
        slide_mpp_um=(0.25, 0.25),
    )
    block = np.random.default_rng(seed).random((2, 488, 512), np.float32)
    write_block(folder / "heatmap.ome.zarr", 512, 512, block)
    finish_heatmap(folder / "heatmap.ome.zarr")
    write_density(folder / "density", points, frame=PLANE, mpp_um=0.5)
    counts = Counts(positive=points.positive, negative=points.negative, total=CELLS)
    record = ScoreRecord(
        slide=SlideIdentity(
            id=slide_id,
            name=name,
            width=9000,
            height=9000,
            bounds=(1000, 2000, 3000, 2000),
            mpp=(0.25, 0.25),
        ),
        status="ok",
        counts=counts,
        ki67=Ki67(index_pct=100 * points.positive / CELLS),
    )
    write_score(folder / "score.json", record)
    write_done(folder, {})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Results of two slides that were scored and one that failed."""
    make_result(tmp_path / "out", "a-1", "a.mrxs", 1)
    make_result(tmp_path / "out", "b-2", "b.scn", 2)
    failed = ScoreRecord(
        slide=SlideIdentity(id="c-3", name="c.svs"), status="failed", reason="damaged"
    )
    write_score(tmp_path / "out" / "slides" / "c-3" / "score.json", failed)
    return tmp_path / "out"


def ki67(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, arguments)])


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_exports_are_the_same_bytes_and_touch_no_result(out: Path, tmp_path: Path) -> None:
    before = everything(out / "slides")
    for name in ("one", "two"):
        made = ki67(out, "--csv", "--zarr", "--ome-tiff", "--to", tmp_path / name)
        assert made.exit_code == 0, made.output
    assert everything(out / "slides") == before
    one = everything(tmp_path / "one")
    assert one == everything(tmp_path / "two")
    kinds = {name.partition("/")[0] for name in one}
    assert kinds == {"csv", "zarr", "ome-tiff"}
    assert not any("c-3" in name for name in one)


def test_without_a_place_they_lie_beside_the_results(out: Path) -> None:
    assert ki67(out, "--csv", "--qupath").output.splitlines() == [
        f"2 slides: {out / 'qupath'}",
        f"2 slides: {out / 'exports' / 'csv'}",
        "1 slide without cells left out",
    ]
    assert (out / "qupath" / "a-1.density.png").exists()
    table = pd.read_csv(out / "exports" / "csv" / "b-2.cells.csv.gz")
    assert len(table) == CELLS
    assert (table["label"] == "positive").sum() == cells(2).positive


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_the_maps_are_those_of_the_results_in_the_version_asked_for(
    out: Path, tmp_path: Path, version: str
) -> None:
    assert ki67(out, "--zarr", "--ome-zarr", version, "--to", tmp_path).exit_code == 0
    copied = tmp_path / "zarr" / "a-1.heatmap.ome.zarr"
    assert zarr.open_group(copied, mode="r").metadata.zarr_format == (3 if version == "0.5" else 2)
    for level in range(3):
        stored = read_level(out / "slides" / "a-1" / "heatmap.ome.zarr", level)
        assert np.array_equal(read_level(copied, level), stored)
        assert stored.any()
    found = read_density(tmp_path / "zarr" / "a-1.density")
    stored_map = read_density(out / "slides" / "a-1" / "density")
    assert found.frame == stored_map.frame
    assert np.array_equal(found.counts, stored_map.counts)
    assert np.array_equal(found.counts, bin_cells(cells(1), found.frame))


def test_the_picture_is_the_heatmap(out: Path, tmp_path: Path) -> None:
    assert ki67(out, "--ome-tiff", "--slide", "b.scn", "--to", tmp_path).exit_code == 0
    (path,) = (tmp_path / "ome-tiff").iterdir()
    assert path.name == "b-2.response.ome.tiff"
    assert np.array_equal(
        tifffile.imread(path), read_level(out / "slides" / "b-2" / "heatmap.ome.zarr")
    )


def test_a_pack_of_one_slide_elsewhere_holds_only_it_in_place_it_keeps_the_others(
    out: Path, tmp_path: Path
) -> None:
    one = ("--qupath", "--slide", "a-1", "--geojson", "--tiles", "tile")
    assert ki67(out, *one, "--to", tmp_path).exit_code == 0
    manifest = json.loads((tmp_path / "qupath" / "manifest.json").read_text())
    assert [slide["slide_id"] for slide in manifest["slides"]] == ["a-1"]
    assert len(read_objects(tmp_path / "qupath" / "a-1.cells.geojson.gz")) == CELLS
    assert ki67(out, *one).exit_code == 0
    manifest = json.loads((out / "qupath" / "manifest.json").read_text())
    assert [slide["slide_id"] for slide in manifest["slides"]] == ["a-1", "b-2"]
    assert {path.name for path in (out / "qupath").glob("*.tiles.geojson")} == {"a-1.tiles.geojson"}
    table = gzip.decompress((out / "qupath" / "b-2.cells.csv.gz").read_bytes())
    assert len(table.splitlines()) == CELLS + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "choose what to export"),
        (("--csv", "--tiles", "tile"), "--tiles goes with --qupath"),
        (("--csv", "--slide", "a.mrx"), "did you mean a.mrxs?"),
    ],
)
def test_what_cannot_be_meant_is_one_line_with_the_remedy(
    out: Path, arguments: tuple[str, ...], message: str
) -> None:
    made = ki67(out, *arguments)
    assert made.exit_code == 2
    assert message in made.output
    assert len(made.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "lost", "said"),
    [
        ("--csv", "cells.parquet", "a.mrxs: cells.parquet: missing"),
        ("--csv", "score.json", "a-1: score.json: missing"),
        ("--csv", "done.json", "a.mrxs: it is not finished"),
        ("--ome-tiff", "heatmap.ome.zarr/0/c/0/1/1", "a.mrxs: heatmap.ome.zarr/0/c/0/1/1: missing"),
        ("--zarr", "heatmap.ome.zarr/0/c/0/1/1", "a.mrxs: heatmap.ome.zarr/0/c/0/1/1: missing"),
    ],
)
def test_a_slide_that_lost_a_file_is_named_and_not_exported_but_the_others_are(
    out: Path, tmp_path: Path, kind: str, lost: str, said: str
) -> None:
    (out / "slides" / "a-1" / lost).unlink()

    made = ki67(out, kind, "--to", tmp_path)

    assert made.exit_code == 1
    assert f"left out: {said}" in made.output
    names = [path.name for path in (tmp_path / kind.removeprefix("--")).iterdir()]
    assert names
    assert all(name.startswith("b-2.") for name in names)


def test_a_damaged_map_does_not_keep_the_cells_back(out: Path, tmp_path: Path) -> None:
    (out / "slides" / "a-1" / "heatmap.ome.zarr" / "0" / "c" / "0" / "1" / "1").write_bytes(b"")
    assert ki67(out, "--csv", "--to", tmp_path).exit_code == 0
    assert len(list((tmp_path / "csv").iterdir())) == 2


def test_a_slide_asked_for_that_has_nothing_is_no_success(out: Path, tmp_path: Path) -> None:
    made = ki67(out, "--csv", "--slide", "c.svs", "--to", tmp_path)
    assert made.exit_code == 1
    assert "left out: c.svs: failed: damaged" in made.output
    (out / "slides" / "a-1" / "score.json").unlink()
    lost = ki67(out, "--csv", "--slide", "a-1", "--to", tmp_path)
    assert lost.exit_code == 1
    assert "left out: a-1: score.json: missing" in lost.output


def test_a_file_name_needs_no_folder(out: Path, tmp_path: Path) -> None:
    make_result(out, "d-4", "2026/d.svs", 4)
    assert ki67(out, "--csv", "--slide", "d.svs", "--to", tmp_path).exit_code == 0
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["d-4.cells.csv.gz"]
