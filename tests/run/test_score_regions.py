"""Cells and areas in a region of interest: exact, and they add up to the slide."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from pipeline.io.results import read_score, verify_done
from tests.run.score_batches import again, box, every_byte, folder_of, region
from tests.run.small_slides import HEIGHT, WIDTH


def test_the_region_of_the_whole_slide_changes_nothing_but_the_population(
    out: Path, tmp_path: Path
) -> None:
    folder = folder_of(out, "first")
    before = read_score(folder / "score.json").as_json()
    cells = pq.read_table(folder / "cells.parquet")
    again(out, region(tmp_path / "rois", box(-9, -9, WIDTH + 9, HEIGHT + 9)))
    after = read_score(folder / "score.json").as_json()
    assert (before["population"], after["population"]) == ("model_targets", "roi")
    assert after["area_mm2"]["outside_roi"] == 0
    after["area_mm2"]["outside_roi"] = None
    for key in ("status", "flags", "counts", "ki67", "density", "area_mm2", "pieces", "hotspots"):
        assert after[key] == before[key], key
    assert pq.read_table(folder / "cells.parquet").equals(cells)


def test_the_halves_of_a_slide_sum_to_it(out: Path, tmp_path: Path) -> None:
    whole = read_score(folder_of(out, "first") / "score.json")
    cut = WIDTH / 2 + 0.5
    halves = []
    for part, ends in (("left", (0, cut)), ("right", (cut, WIDTH))):
        shape = box(ends[0], 0, ends[1], HEIGHT)
        score = again(out, region(tmp_path / part, shape))["first"].score
        assert score is not None
        halves.append(score)
    for count in ("positive", "negative", "total"):
        assert sum(getattr(half.counts, count) for half in halves) == getattr(whole.counts, count)
    analysed = sum(half.area_mm2.analysed or 0 for half in halves)
    assert analysed == pytest.approx(whole.area_mm2.analysed, abs=2e-6)


def test_cells_are_in_the_region_exactly_and_the_others_say_why_not(
    out: Path, tmp_path: Path
) -> None:
    hole = box(700, 500, 1000, 900, "Necrosis")
    again(out, region(tmp_path / "rois", box(300, 300, 1400, 1200), hole))
    folder = folder_of(out, "first")
    inside = shapely.box(300, 300, 1400, 1200) - shapely.box(700, 500, 1000, 900)
    for name, expected in (("cells.parquet", True), ("candidates.parquet", False)):
        table = pq.read_table(folder / name)
        found = shapely.contains_xy(inside, np.array(table["x_l0"]), np.array(table["y_l0"]))
        if expected:
            assert len(found) > 20
            assert found.all()
        else:
            words = np.array(table["excluded"].to_pylist(), object)
            assert (words[~found] == "outside_roi").all()
            assert "outside_roi" not in set(words[found])
    names = [
        feature["properties"]["classification"]["name"]
        for feature in json.loads((folder / "areas.geojson").read_bytes())["features"]
    ]
    assert {"Region of interest", "Excluded", "Tissue"} <= set(names)
    score = read_score(folder / "score.json")
    assert score.roi is not None
    assert score.roi.exclude_classes == ("Necrosis",)
    assert verify_done(folder) == []


def test_a_slide_without_a_region_is_scored_whole_and_says_so(out: Path, tmp_path: Path) -> None:
    ended = again(out, region(tmp_path / "rois", box(0, 0, 900, 900)))
    score = ended["second"].score
    assert score is not None
    assert (score.population, score.roi) == ("model_targets", None)
    assert "no_region_of_interest" in score.flags
    required = {"roi": {"folder": str(tmp_path / "rois"), "required": True}}
    assert "no region of interest" in again(out, required, force=True)["second"].reason


def test_a_region_that_cannot_be_read_leaves_the_slide_as_it_was(out: Path, tmp_path: Path) -> None:
    before = every_byte(out / "slides" / folder_of(out, "first").name)
    changes = region(tmp_path / "rois", box(9e5, 9e5, 9.1e5, 9.1e5))
    ended = again(out, changes)
    assert (ended["first"].outcome, ended["second"].outcome) == ("not_scored", "scored")
    assert "lies outside the slide" in ended["first"].reason
    assert every_byte(out / "slides" / folder_of(out, "first").name) == before


def test_two_files_for_one_slide_are_refused_by_name(out: Path, tmp_path: Path) -> None:
    region(tmp_path / "rois", box(0, 0, 900, 900))
    changes = region(tmp_path / "rois", box(0, 0, 90, 90), name="first.json")
    ended = again(out, changes)
    assert "more than one region of interest (first.geojson, first.json)" in ended["first"].reason
