"""Whatever is wrong with a slide is one line about that slide; the rest of the batch is done."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.points import CellPoints
from pipeline.io.cells import read_cells
from pipeline.io.heatmap import read_level
from pipeline.io.ledger import Ledger
from pipeline.io.results import read_score, verify_done
from pipeline.run.archive import run_archive
from pipeline.run.events import Event, RunSummary, SlideRecord
from pipeline.run.plan import HEATMAP_NAME
from tests.run.conftest import Configure
from tests.run.small_slides import JPEG_TILE, result_bytes, spoil_tile, stained_tissue, write_slide

WIDTH, HEIGHT = 1600, 1100
SPOILED = 16
"""Row 2, column 2 of 5 x 7 JPEG tiles of 256 px, which are model tiles of 128 px: in the tissue."""

FAILING = {
    "absent.tif": "No such file",
    "empty.svs": "0 bytes",
    "letter.svs": "no slide format",
    "cut.tif": "",
    "silent.tif": "--assume-mpp",
    "screen.tif": "352.778 um per pixel",
}


@dataclass(frozen=True)
class Batch:
    """One run over bad slides and good ones."""

    out: Path
    inputs: list[Path]
    summary: RunSummary
    events: list[Event]

    def of(self, name: str) -> SlideRecord:
        return next(record for record in self.summary.records if record.name == name)

    def folder(self, name: str) -> Path:
        return self.out / "slides" / self.of(name).slide_id


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bad")
    pixels = stained_tissue(3, width=WIDTH, height=HEIGHT)
    good = write_slide(folder / "good.tif", pixels)
    (folder / "empty.svs").write_bytes(b"")
    (folder / "letter.svs").write_text("Dear colleague, the slide is in the other folder.\n" * 9)
    (folder / "cut.tif").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    write_slide(folder / "silent.tif", pixels, mpp=None)
    write_slide(folder / "screen.tif", pixels, mpp=25400 / 72)
    spoil_tile(write_slide(folder / "spoiled.tif", pixels), SPOILED)
    write_slide(folder / "glass.tif", np.full((HEIGHT, WIDTH, 3), 243, np.uint8))
    for case in ("left", "right"):
        (folder / case).mkdir()
    write_slide(folder / "left" / "same.tif", pixels)
    write_slide(folder / "right" / "same.tif", stained_tissue(4, width=WIDTH, height=HEIGHT))
    named = [folder / name for name in (*FAILING, "good.tif", "spoiled.tif", "glass.tif")]
    return [*named, folder / "left" / "same.tif", folder / "right" / "same.tif"]


@pytest.fixture(scope="module")
def batch(
    tmp_path_factory: pytest.TempPathFactory,
    inputs: list[Path],
    configure: Configure,
    scheduler: str,
) -> Batch:
    out, events = tmp_path_factory.mktemp("batch"), list[Event]()
    config = configure(scheduler, "slides.max_unreadable_pct=40")
    return Batch(out, inputs, run_archive(inputs, out, config, on_event=events.append), events)


@pytest.mark.parametrize(("name", "reason"), FAILING.items())
def test_a_bad_slide_fails_in_one_line_that_names_it(batch: Batch, name: str, reason: str) -> None:
    record = batch.of(name)
    assert (record.outcome, record.score.status) == ("failed", "failed")
    assert record.score.reason is not None
    assert record.score.reason.startswith(f"{name}: ")
    assert reason in record.score.reason
    assert "\n" not in record.score.reason
    assert record.score.counts.total is None
    assert read_score(batch.folder(name) / "score.json").status == "failed"


def test_the_run_says_that_some_slides_failed(batch: Batch) -> None:
    assert batch.summary.exit_code == 1
    assert len(batch.summary.records) == len(batch.inputs)


def test_the_good_slides_of_the_batch_are_whole(batch: Batch) -> None:
    for record in batch.summary.records:
        if record.outcome == "scored":
            folder = batch.out / "slides" / record.slide_id
            assert verify_done(folder) == []
            assert not (folder / ".work").exists()
            names = {path.name for path in folder.iterdir()}
            assert names >= {
                "score.json",
                "cells.parquet",
                "candidates.parquet",
                "cells.geojson.gz",
                "areas.geojson",
                "heatmap.ome.zarr",
                "density",
                "thumbnail.jpg",
                "overlay.jpg",
                "done.json",
            }


def test_equal_names_in_two_folders_are_two_slides(batch: Batch) -> None:
    same = [record for record in batch.summary.records if record.name.endswith("same.tif")]
    assert len({record.slide_id for record in same}) == 2
    assert {record.score.status for record in same} == {"ok"}
    assert same[0].score.counts != same[1].score.counts


def test_glass_without_tissue_is_a_result_not_an_error(batch: Batch) -> None:
    score = batch.of("glass.tif").score
    assert (score.status, score.reason) == ("no_tissue", "no tissue was found")
    assert (score.counts.total, score.ki67.index_pct, score.ki67.wilson95) == (0, None, None)
    assert len(read_cells(batch.folder("glass.tif") / "cells.parquet")) == 0
    assert not read_level(batch.folder("glass.tif") / HEATMAP_NAME).any()


def test_a_spoiled_jpeg_tile_is_flagged_and_excluded_and_the_rest_is_scored(batch: Batch) -> None:
    score, whole = batch.of("spoiled.tif").score, batch.of("good.tif").score
    assert (score.status, score.flags) == ("ok_with_flags", ("unreadable_tiles",))
    assert score.area_mm2.tissue == whole.area_mm2.tissue
    tile_mm2 = (128 * 0.5e-3) ** 2
    assert score.area_mm2.unreadable is not None
    assert score.area_mm2.unreadable >= tile_mm2 * 0.9
    assert score.area_mm2.analysed == pytest.approx(
        (score.area_mm2.tissue or 0) - score.area_mm2.unreadable
    )
    cells = read_cells(batch.folder("spoiled.tif") / "cells.parquet")
    row, col = divmod(SPOILED, 7)
    assert not _in_jpeg_tile(cells, row, col).any()
    assert len(cells) > 20
    names = [area["properties"]["name"] for area in _areas(batch.folder("spoiled.tif"))]
    assert names == ["Tissue", "Analysed area", "Unreadable tiles"]


def test_far_from_the_damage_the_cells_are_the_same(batch: Batch) -> None:
    # the next model tile sees the damage in its halo, the one after does not
    far = 4 * JPEG_TILE + 64
    ours, whole = (
        read_cells(batch.folder(name) / "cells.parquet") for name in ("spoiled.tif", "good.tif")
    )
    assert (whole.x_l0 >= far).sum() > 20
    assert _columns(ours, ours.x_l0 >= far) == _columns(whole, whole.x_l0 >= far)


def test_damage_gives_the_same_bytes_with_another_region_size(
    batch: Batch, tmp_path: Path, configure: Configure, scheduler: str
) -> None:
    spoiled = next(path for path in batch.inputs if path.name == "spoiled.tif")
    config = configure(scheduler, "slides.max_unreadable_pct=40", "prediction.region_tiles=1")
    run_archive([spoiled], tmp_path, config)
    slide_id = batch.of("spoiled.tif").slide_id
    before = {name: b for name, b in result_bytes(batch.out).items() if slide_id in name}
    assert result_bytes(tmp_path) == before


def test_more_damage_than_allowed_fails_the_slide(
    batch: Batch, tmp_path: Path, configure: Configure, scheduler: str
) -> None:
    spoiled = next(path for path in batch.inputs if path.name == "spoiled.tif")
    summary = run_archive([spoiled], tmp_path, configure(scheduler))
    assert summary.records[0].score.status == "failed"
    assert "max_unreadable_pct=1" in (summary.records[0].score.reason or "")
    assert not list(tmp_path.glob("slides/*/cells.parquet"))


def test_table_ledger_and_run_record_have_every_slide(batch: Batch) -> None:
    ids = {record.slide_id for record in batch.summary.records}
    with (batch.out / "slides.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["slide_id"] for row in rows} == ids
    with Ledger(batch.out / "ledger.sqlite") as ledger:
        assert {row.slide_id for row in ledger.rows()} == ids
        assert ledger.runs()[0].exit_code == 1
    record = json.loads(next((batch.out / "runs").iterdir()).read_text())
    assert record["status"] == "finished"
    assert {slide["slide_id"] for slide in record["slides"]} == ids


def test_known_failures_are_not_tried_again_and_do_not_fail_the_next_run(
    batch: Batch, configure: Configure, scheduler: str
) -> None:
    known = [path for path in batch.inputs if path.name != "absent.tif"]
    config = configure(scheduler, "slides.max_unreadable_pct=40")
    again = run_archive(known, batch.out, config)
    outcomes = {record.name: record.outcome for record in again.records}
    assert again.exit_code == 0
    assert {outcomes[name] for name in FAILING if name != "absent.tif"} == {"failed_before"}
    assert outcomes["good.tif"] == outcomes["glass.tif"] == "already_done"
    tried = run_archive(known[:1], batch.out, config, retry_failed=True)
    assert [record.outcome for record in tried.records] == ["failed"]


def _in_jpeg_tile(cells: CellPoints, row: int, col: int) -> np.ndarray:
    x, y = cells.x_l0 // JPEG_TILE, cells.y_l0 // JPEG_TILE
    return np.asarray((x == col) & (y == row))


def _columns(cells: CellPoints, rows: np.ndarray) -> list[list[float]]:
    kept = cells.take(rows)
    return [kept.x_l0.tolist(), kept.y_l0.tolist(), kept.score.tolist(), kept.label.tolist()]


def _areas(folder: Path) -> list[dict[str, dict[str, str]]]:
    features = json.loads((folder / "areas.geojson").read_text())["features"]
    assert isinstance(features, list)
    return features
