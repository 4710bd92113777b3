import csv
import gzip
import json
import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.errors import OutputError
from pipeline.io.areas import Area, mask_outline, write_areas
from pipeline.io.cells import write_cells
from pipeline.io.cells_text import write_cells_csv
from pipeline.io.ledger import Ledger, LedgerSlide
from pipeline.io.qupath import PackOptions, write_qupath
from pipeline.io.results import Counts, Ki67, Provenance, ScoreRecord, SlideIdentity
from tests.io.qupath_contract import check_file
from tests.io.qupath_reader import read_objects


def some_cells(count: int, seed: int = 0) -> CellPoints:
    rng = np.random.default_rng(seed)
    return CellPoints(
        rng.uniform(1000, 9000, count),
        rng.uniform(2000, 8000, count),
        rng.random(count, np.float32),
        (rng.random(count) < 0.3).astype(np.uint8),
    )


def make_slide(out: Path, slide_id: str, name: str, count: int = 200) -> ScoreRecord:
    points = some_cells(count)
    write_cells(out / "slides" / slide_id / "cells.parquet", points, {})
    mask = np.zeros((30, 40), bool)
    mask[5:25, 5:35] = True
    outline = mask_outline(mask, PlaneFrame(1000, 2000, 200.0, 200.0, 40, 30))
    write_areas(
        out / "slides" / slide_id / "areas.geojson",
        [Area("Tissue", "tissue", outline)],
        slide_id=slide_id,
        offset_x_l0=1000,
        offset_y_l0=2000,
    )
    counts = Counts(positive=points.positive, negative=points.negative, total=count)
    index = 100 * points.positive / count if count else None
    return ScoreRecord(
        slide=SlideIdentity(
            id=slide_id,
            name=name,
            width=10_000,
            height=9_000,
            bounds=(1000, 2000, 8000, 6000),
            mpp=(0.25, 0.25),
        ),
        status="ok",
        counts=counts,
        ki67=Ki67(index_pct=index),
        provenance=Provenance(ended="2026-01-01T00:00:00+00:00"),
    )


def read_table(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_pack_holds_every_cell_in_qupaths_pixels(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.svs")
    folder = write_qupath(tmp_path, [record], {})
    rows = read_table(folder / "a-1.cells.csv.gz")
    points = some_cells(200)
    assert [row["positive"] for row in rows] == [str(label) for label in points.label]
    x = np.array([float(row["x"]) for row in rows])
    y = np.array([float(row["y"]) for row in rows])
    assert np.abs(x - (points.x_l0 - 1000)).max() <= 0.0501
    assert np.abs(y - (points.y_l0 - 2000)).max() <= 0.0501
    assert check_file(folder / "a-1.areas.geojson") == {"Tissue": 1}


def test_the_manifest_says_what_the_script_must_find(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.svs")
    folder = write_qupath(tmp_path, [record], {})
    (slide,) = json.loads((folder / "manifest.json").read_text())["slides"]
    assert (slide["image_name"], slide["slide_id"]) == ("a.svs", "a-1")
    assert (slide["width"], slide["height"], slide["bounds"]) == (8000, 6000, [1000, 2000])
    assert slide["cells"] == slide["positive"] + slide["negative"] == 200
    assert slide["radius_px"] == 12.0
    script = (folder / "import_ki67.groovy").read_text()
    for key in ("image_name", "slide_id", "width", "height", "radius_px", "cells"):
        assert f"get('{key}')" in script


def test_the_script_calls_nothing_that_some_supported_qupath_lacks(tmp_path: Path) -> None:
    script = (write_qupath(tmp_path, [], {}) / "import_ki67.groovy").read_text()
    for absent in (
        "removeDetections(",
        "removeAllObjects(",
        "clearDetections(",
        "PathClassFactory",
    ):
        assert absent not in script
    assert "JsonSlurper" not in script  # QuPath ships Groovy without its JSON part


def test_colours_are_qupaths_own_as_packed_integers(tmp_path: Path) -> None:
    folder = write_qupath(tmp_path, [], {})
    assert json.loads((folder / "classifiers" / "classes.json").read_text()) == {
        "pathClasses": [
            {"name": "Positive", "color": -3657166},
            {"name": "Negative", "color": -10855756},
        ]
    }


def test_the_project_names_each_slide_where_the_ledger_saw_it(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a b.svs")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(LedgerSlide("r", "a-1", "/slides/a b.svs", "ok"))
    folder = write_qupath(tmp_path, [record])
    project = json.loads((folder / "project.qpproj").read_text())
    (image,) = project["images"]
    assert image["serverBuilder"]["uri"] == "file:/slides/a%20b.svs"
    assert image["imageName"] == "a b.svs"
    assert uuid.UUID(image["randomizedName"])
    assert project["lastID"] == image["entryID"] == 1
    assert project["modifyTimestamp"] == 1_767_225_600_000
    assert all(isinstance(value, str) for value in image["metadata"].values())


def test_equal_names_are_told_apart_by_id_in_the_project(tmp_path: Path) -> None:
    records = [make_slide(tmp_path, "a-1", "a.svs"), make_slide(tmp_path, "a-2", "a.svs")]
    paths = {"a-1": Path("/x/a.svs"), "a-2": Path("/y/a.svs")}
    project = json.loads((write_qupath(tmp_path, records, paths) / "project.qpproj").read_text())
    assert [image["imageName"] for image in project["images"]] == ["a-1", "a-2"]


def test_a_project_worked_on_in_qupath_keeps_its_images_and_numbers(tmp_path: Path) -> None:
    first = make_slide(tmp_path, "a-1", "a.svs")
    paths = {"a-1": Path("/x/a.svs"), "b-1": Path("/x/b.svs")}
    path = write_qupath(tmp_path, [first], paths) / "project.qpproj"
    project = json.loads(path.read_text())
    project["images"].append({"serverBuilder": {"builderType": "rotated"}, "entryID": 7})
    path.write_text(json.dumps(project))
    kept = path.read_bytes()
    write_qupath(tmp_path, [first], paths)
    assert path.read_bytes() == kept  # nothing new: not touched
    write_qupath(tmp_path, [first, make_slide(tmp_path, "b-1", "b.svs")], paths)
    after = json.loads(path.read_text())
    assert after["images"][:2] == project["images"]
    assert [image["entryID"] for image in after["images"]] == [1, 7, 8]


def test_a_damaged_project_is_left_and_named(tmp_path: Path) -> None:
    path = write_qupath(tmp_path, [], {}) / "project.qpproj"
    path.write_text("{")
    with pytest.raises(OutputError, match="move it away"):
        write_qupath(tmp_path, [make_slide(tmp_path, "a-1", "a.svs")], {"a-1": Path("/x/a.svs")})
    assert path.read_text() == "{"


def test_tables_are_written_again_only_when_the_cells_are_newer(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.svs")
    table = write_qupath(tmp_path, [record], {}) / "a-1.cells.csv.gz"
    os.utime(table, ns=(2**62, 2**62))
    write_qupath(tmp_path, [record], {})
    assert table.stat().st_mtime_ns == 2**62
    os.utime(table, ns=(0, 0))
    write_qupath(tmp_path, [record], {})
    assert table.stat().st_mtime_ns > 0


def test_a_slide_that_failed_since_leaves_nothing_to_import(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.svs")
    folder = write_qupath(tmp_path, [record], {})
    failed = ScoreRecord(slide=record.slide, status="failed", reason="gone")
    write_qupath(tmp_path, [failed], {})
    assert not list(folder.glob("a-1.*"))
    assert json.loads((folder / "manifest.json").read_text())["slides"] == []


def test_the_same_cells_give_the_same_table_and_nowhere_is_refused(tmp_path: Path) -> None:
    points = some_cells(60_000)
    for name in ("a.csv.gz", "b.csv.gz"):
        write_cells_csv(tmp_path / name, points, offset_x_l0=0, offset_y_l0=0)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert len(read_table(tmp_path / "a.csv.gz")) == 60_000
    points.y_l0[7] = np.nan
    with pytest.raises(ValueError, match="cell 7"):
        write_cells_csv(tmp_path / "c.csv.gz", points, offset_x_l0=0, offset_y_l0=0)


def test_a_slide_without_cells_has_a_table_of_none(tmp_path: Path) -> None:
    folder = write_qupath(tmp_path, [make_slide(tmp_path, "a-1", "a.svs", count=0)], {})
    assert read_table(folder / "a-1.cells.csv.gz") == []


def test_the_pack_holds_a_picture_and_what_more_is_asked_for_and_no_more(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.svs")
    more = PackOptions(geojson=True, shape="circle", scores=True, tiles="annotation", tile_um=500.0)
    folder = write_qupath(tmp_path, [record], {}, options=more)
    assert {path.name for path in folder.glob("a-1.*")} == {
        "a-1.cells.csv.gz",
        "a-1.cells.geojson.gz",
        "a-1.areas.geojson",
        "a-1.tiles.geojson",
        "a-1.density.png",
    }
    points = some_cells(200)
    cells = read_objects(folder / "a-1.cells.geojson.gz")
    assert sum(found.is_positive for found in cells) == points.positive
    assert {found.roi for found in cells} == {"ellipse"}
    assert all("AI score" in found.measurements for found in cells)
    tiles = read_objects(folder / "a-1.tiles.geojson")
    assert sum(found.measurements["AI positive"] for found in tiles) == points.positive
    write_qupath(tmp_path, [record], {}, options=PackOptions(again=True))
    assert {path.name for path in folder.glob("a-1.*")} == {
        "a-1.cells.csv.gz",
        "a-1.areas.geojson",
        "a-1.density.png",
    }


def test_a_pack_may_lie_anywhere(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.svs")
    folder = write_qupath(tmp_path, [record], {"a-1": Path("/x/a.svs")}, folder=tmp_path / "to")
    assert folder == tmp_path / "to"
    assert not (tmp_path / "qupath").exists()
    uri = json.loads((folder / "project.qpproj").read_text())["uri"]
    assert uri.endswith("/to/project.qpproj")


def test_both_scripts_look_for_the_slide_in_the_same_way(tmp_path: Path) -> None:
    folder = write_qupath(tmp_path, [], {})
    for name in ("import_ki67.groovy", "show_density.groovy"):
        script = (folder / name).read_text()
        assert "stand here" not in script
        assert "server.getWidth() != width || server.getHeight() != height" in script
        assert script.index("def folderByHand") < script.index("def given = folderByHand")
        for opening, closing in ("{}", "()", "[]"):
            assert script.count(opening) == script.count(closing)
    assert "new File(folder, id + '.density.png')" in script


def test_a_slide_that_openslide_cannot_open_is_opened_with_bio_formats(tmp_path: Path) -> None:
    record = make_slide(tmp_path, "a-1", "a.ome.tif")
    foreign = record.slide.model_copy(update={"reader": "tiffslide", "vendor": None})
    known = record.slide.model_copy(update={"reader": "tiffslide", "vendor": "aperio"})
    builders = []
    for number, slide in enumerate((foreign, known)):
        folder = write_qupath(
            tmp_path,
            [record.model_copy(update={"slide": slide})],
            {"a-1": Path("/x/a.ome.tif")},
            folder=tmp_path / str(number),
        )
        (image,) = json.loads((folder / "project.qpproj").read_text())["images"]
        builders.append(image["serverBuilder"]["providerClassName"].rpartition(".")[2])
    assert builders == ["BioFormatsServerBuilder", "OpenslideServerBuilder"]
