import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import OutputError
from pipeline.io.results import (
    SLIDE_COLUMNS,
    AreaMm2,
    Category,
    Counts,
    Density,
    Hotspot,
    Ki67,
    Piece,
    Provenance,
    ScoreRecord,
    SlideIdentity,
    check_done,
    read_score,
    read_scores,
    slide_row,
    verify_done,
    withdraw_done,
    write_done,
    write_run_json,
    write_score,
    write_slides_csv,
)

SCHEMA: dict[str, Any] = {
    "schema": None,
    "slide": "id name fingerprint reader vendor width height bounds mpp mpp_source objective group",
    "status": None,
    "reason": None,
    "flags": None,
    "population": None,
    "caveat": None,
    "area_mm2": "tissue excluded unreadable analysed outside_roi",
    "counts": "positive negative total",
    "ki67": "index_pct wilson95 bootstrap95 unweighted_field_mean_pct fields calibrated",
    "density": "positive_per_mm2 total_per_mm2",
    "hotspots": None,
    "pieces": None,
    "category": None,
    "roi": None,
    "qc": None,
    "provenance": "tool version results_version weights weights_sha256 config_sha256 threshold "
    "engine device dtype started ended research_use_only",
}


def full_record() -> ScoreRecord:
    return ScoreRecord(
        slide=SlideIdentity(
            id="a-01234567",
            name="a.svs",
            fingerprint="sampled-sha256:00",
            reader="openslide",
            vendor="aperio",
            width=1000,
            height=2000,
            bounds=(10, 20, 900, 1800),
            mpp=(0.2520001, 0.252),
            mpp_source="vendor",
            objective=40.0,
        ),
        status="ok_with_flags",
        flags=("sparse_tissue", "unreadable_tiles"),
        population="model_targets",
        caveat="nuclei resembling the tumour nuclei marked in training",
        area_mm2=AreaMm2(tissue=1.23456789, excluded=0, unreadable=0.5, analysed=0.7),
        counts=Counts(positive=10, negative=71, total=81),
        ki67=Ki67(index_pct=100 * 10 / 81, wilson95=(6.8123456, 21.2987654)),
        density=Density(positive_per_mm2=14.2857, total_per_mm2=115.714),
        hotspots=(Hotspot(rank=1, x_l0=1.234, y_l0=2, radius_um=500, cells=9, positive=3),),
        pieces=(Piece(id=1, area_mm2=1.2, positive=10, negative=71, index_pct=12.3),),
        category=Category(scheme="s", label="low", cutoffs=(20.0,), straddles_cutoff=False),
        provenance=Provenance(
            weights="m",
            weights_sha256="ab",
            started="2026-01-01T00:00:00Z",
            ended="2026-01-01T00:01:01.5+00:00",
        ),
    )


def failed_record(reason: str = "a.svs: no mpp in metadata; pass --mpp") -> ScoreRecord:
    return ScoreRecord(slide=SlideIdentity(id="b-1", name="b.svs"), status="failed", reason=reason)


@pytest.mark.parametrize("record", [full_record(), failed_record()])
def test_every_key_of_the_schema_is_always_there(tmp_path: Path, record: ScoreRecord) -> None:
    write_score(tmp_path / "score.json", record)
    found = json.loads((tmp_path / "score.json").read_text())
    assert list(found) == list(SCHEMA)
    for key, names in SCHEMA.items():
        if names is not None:
            assert list(found[key]) == names.split()
    assert found["schema"] == 1


def test_a_score_comes_back_as_it_was(tmp_path: Path) -> None:
    for record in (full_record(), failed_record()):
        write_score(tmp_path / "score.json", record)
        assert read_score(tmp_path / "score.json") == record


def test_numbers_are_rounded_to_what_they_can_carry() -> None:
    record = full_record()
    assert record.ki67.index_pct == 12.3457
    assert record.area_mm2.tissue == 1.234568
    assert record.slide.mpp == (0.252, 0.252)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Ki67(index_pct=bad)
    with pytest.raises(ValidationError, match="finite"):
        AreaMm2(tissue=bad)


def test_an_unknown_key_or_status_is_refused() -> None:
    with pytest.raises(ValidationError):
        Counts.model_validate({"positive": 1, "neg": 2})
    with pytest.raises(ValidationError):
        ScoreRecord.model_validate({"slide": {"id": "a", "name": "a"}, "status": "fine"})


def test_seconds_run_from_start_to_end() -> None:
    assert full_record().seconds == 61.5
    assert failed_record().seconds is None


def test_a_damaged_score_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "score.json"
    for text in ("{", "{}", "[]"):
        path.write_text(text)
        with pytest.raises(OutputError, match="run the same") as caught:
            read_score(path)
        assert "\n" not in str(caught.value)


def test_all_scores_of_a_folder_are_read_by_slide_id(tmp_path: Path) -> None:
    write_score(tmp_path / "slides" / "b-1" / "score.json", failed_record())
    write_score(tmp_path / "slides" / "a-01234567" / "score.json", full_record())
    assert read_scores(tmp_path) == [full_record(), failed_record()]


def make_slide(folder: Path) -> Path:
    (folder / "heatmap.ome.zarr" / "0").mkdir(parents=True)
    (folder / "heatmap.ome.zarr" / "0" / "zarr.json").write_text("{}")
    (folder / "cells.parquet").write_bytes(b"cells")
    (folder / ".work" / "regions").mkdir(parents=True)
    (folder / ".work" / "regions" / "0.region").write_bytes(b"region")
    write_score(folder / "score.json", full_record())
    return folder


def test_a_done_mark_names_every_result_and_nothing_of_the_work(tmp_path: Path) -> None:
    folder = make_slide(tmp_path / "a")
    write_done(folder, {"region_key": "r", "score_key": "s"})
    mark = json.loads((folder / "done.json").read_text())
    assert list(mark["files"]) == ["cells.parquet", "heatmap.ome.zarr/0/zarr.json", "score.json"]
    assert mark["files"]["cells.parquet"]["size"] == 5
    assert check_done(folder, {"score_key": "s", "region_key": "r"})
    assert verify_done(folder) == []


def test_another_key_a_missing_file_or_another_size_is_not_done(tmp_path: Path) -> None:
    folder = make_slide(tmp_path / "a")
    assert not check_done(folder, {"k": "1"})
    write_done(folder, {"k": "1"})
    assert not check_done(folder, {"k": "2"})
    (folder / "cells.parquet").write_bytes(b"more cells")
    assert not check_done(folder, {"k": "1"})
    (folder / "cells.parquet").unlink()
    assert not check_done(folder, {"k": "1"})
    assert verify_done(folder) == ["a/cells.parquet: missing"]


def test_verifying_finds_changed_content_of_the_same_size(tmp_path: Path) -> None:
    folder = make_slide(tmp_path / "a")
    write_done(folder, {"k": "1"})
    (folder / "cells.parquet").write_bytes(b"CELLS")
    assert check_done(folder, {"k": "1"})
    assert verify_done(folder) == ["a/cells.parquet: content changed (sha256 differs)"]
    withdraw_done(folder)
    assert verify_done(folder) == ["a: no valid done.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 2, "keys": {}, "files": {}}',
        '{"schema": 1, "keys": {"k": "1"}, "files": {"../x": {"sha256": "", "size": 1}}}',
        '{"schema": 1, "keys": {"k": "1"}, "files": []}',
    ],
)
def test_a_damaged_done_mark_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "done.json").write_text(text)
    assert not check_done(tmp_path, {"k": "1"})
    assert verify_done(tmp_path) == [f"{tmp_path.name}: no valid done.json"]


def test_the_table_has_one_row_a_slide_and_stable_columns(tmp_path: Path) -> None:
    write_slides_csv(tmp_path / "slides.csv", [full_record(), failed_record()])
    with (tmp_path / "slides.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(SLIDE_COLUMNS)
    first, second = rows
    assert (first["slide_id"], first["status"]) == ("a-01234567", "ok_with_flags")
    assert (first["index_pct"], first["wilson_lo_pct"]) == ("12.3457", "6.8123")
    assert first["flags"] == "sparse_tissue;unreadable_tiles"
    assert first["seconds"] == "61.5"
    assert second["index_pct"] == second["positive"] == ""  # unknown is empty, not 0
    assert second["reason"].startswith("a.svs: no mpp")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_cannot_become_a_formula_and_stays_on_one_line(tmp_path: Path, start: str) -> None:
    write_slides_csv(tmp_path / "slides.csv", [failed_record(f"{start}1+1\nnext")])
    with (tmp_path / "slides.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["reason"] == f"'{start}1+1 next"


def test_zero_of_zero_has_no_index() -> None:
    empty = failed_record().model_copy(update={"counts": Counts(positive=0, negative=0, total=0)})
    assert slide_row(empty)["index_pct"] is None


def test_run_records_stand_side_by_side(tmp_path: Path) -> None:
    for run_id in ("20260101T200000Z-1", "20260102T200000Z-1"):
        assert write_run_json(tmp_path, run_id, {"run_id": run_id}).is_file()
    assert len(list((tmp_path / "runs").iterdir())) == 2
    with pytest.raises(ValueError, match="safe file name"):
        write_run_json(tmp_path, "../x", {})
