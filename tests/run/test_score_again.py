"""Scores made again without inference: exact, reversible, and never half done."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.errors import ConfigError, OutputError
from pipeline.io import staging
from pipeline.io.results import read_score, verify_done
from pipeline.run import rescore
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from pipeline.run.lock import locked
from tests.run.conftest import Configure
from tests.run.score_batches import again, box, every_byte, folder_of, region, row_of
from tests.run.small_slides import HEIGHT


def test_unchanged_settings_give_the_same_bytes_as_the_run(out: Path) -> None:
    before = every_byte(out)
    ended = again(out, force=True)
    assert {stem: item.outcome for stem, item in ended.items()} == {
        "broken": "failed_before",
        "first": "scored",
        "second": "scored",
        "third": "unfinished",
    }
    assert every_byte(out) == before
    assert [item.outcome for item in again(out).values()].count("unchanged") == 2


def test_a_threshold_up_and_down_restores_the_bytes(out: Path) -> None:
    before = every_byte(out)
    score = read_score(folder_of(out, "first") / "score.json")
    lowest = score.provenance.threshold
    changed = again(out, {"prediction": {"threshold": 3.0}})["first"].score
    assert changed is not None
    assert changed.counts.total is not None
    assert changed.counts.total < (score.counts.total or 0)
    assert verify_done(folder_of(out, "first")) == []
    assert every_byte(out) != before
    again(out, {"prediction": {"threshold": lowest}})
    assert every_byte(out) == before


def test_scores_agree_with_the_cells_counted_from_scratch(out: Path, tmp_path: Path) -> None:
    again(out, region(tmp_path / "rois", box(0, 0, 900, HEIGHT)))
    for stem in ("first", "second"):
        folder = folder_of(out, stem)
        labels = pq.read_table(folder / "cells.parquet")["label"].to_pylist()
        positive, negative = labels.count("positive"), labels.count("negative")
        score = json.loads((folder / "score.json").read_bytes())
        row = row_of(out, stem)
        assert score["counts"] == {
            "positive": positive,
            "negative": negative,
            "total": len(labels),
        }
        index = 100 * positive / len(labels)
        assert score["ki67"]["index_pct"] == pytest.approx(index, abs=5e-5)
        assert float(row["index_pct"]) == score["ki67"]["index_pct"]
        assert int(row["total"]) == len(labels)
        assert row["caveat"] == score["caveat"]
        assert row["population"] == score["population"]
        per_mm2 = len(labels) / score["area_mm2"]["analysed"]
        assert score["density"]["total_per_mm2"] == pytest.approx(per_mm2, rel=1e-4)
        parts = ("analysed", "excluded", "unreadable", "outside_roi")
        total = sum(score["area_mm2"][part] or 0 for part in parts)
        assert total == pytest.approx(score["area_mm2"]["tissue"], abs=1e-5)


def test_settings_that_change_the_cells_are_refused_and_change_nothing(out: Path) -> None:
    before = every_byte(out)
    for changes, name in (
        ({"tissue": {"margin_um": 10.0}}, "tissue.margin_um"),
        ({"prediction": {"threshold": 0.01}}, "prediction.threshold=0.01 is below"),
        ({"prediction": {"model": "default"}}, "prediction.model"),
        ({"score": {"mincells": 3}}, "did you mean score.min_cells"),
    ):
        with pytest.raises(ConfigError, match=name):
            again(out, changes)
    assert every_byte(out) == before


@pytest.mark.parametrize("step", [0, 4])
def test_a_crash_anywhere_leaves_the_old_state_or_the_new(
    out: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder = folder_of(out, "first")
    twin = Path(shutil.copytree(out, out.parent / "twin"))
    again(twin, {"score": {"min_cells": 7}})
    after = every_byte(twin)
    moves = 0

    def crash(*arguments: Any) -> None:
        nonlocal moves
        moves += 1
        if moves > step:
            raise KeyboardInterrupt
        move(*arguments)

    move = staging._move
    monkeypatch.setattr(staging, "_move", crash)
    with pytest.raises(KeyboardInterrupt):
        again(out, {"score": {"min_cells": 7}})
    monkeypatch.undo()
    assert staging.settle_all(out) == [folder.name]
    name = f"slides/{folder.name}/"
    assert {key: value for key, value in every_byte(out).items() if key.startswith(name)} == {
        key: value for key, value in after.items() if key.startswith(name)
    }


def test_a_crash_before_the_commit_leaves_the_old_state(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = every_byte(out)

    def full(*_: Any, **__: Any) -> None:
        raise OutputError("no space left on the device")

    monkeypatch.setattr(rescore, "commit_staged", full)
    again(out, {"score": {"min_cells": 7}})
    assert every_byte(out) == before


def test_the_run_keeps_what_ki67_score_made_and_says_so(
    out: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    again(out, {"prediction": {"threshold": 3.0}})
    scored = every_byte(out)
    events: list[Event] = []
    run_archive([slides], out, configure(scheduler), on_event=events.append)
    told = [event.message for event in events if event.kind == "notice"]
    assert "first.tif: stays as `ki67 score` left it; prediction.threshold differ here" in told
    assert every_byte(out) == scored


def test_a_run_with_a_region_scores_finished_slides_again_without_predicting(
    out: Path, slides: Path, configure: Configure, scheduler: str, tmp_path: Path
) -> None:
    region(tmp_path / "rois", box(0, 0, 900, HEIGHT))
    config = configure(scheduler, f"roi.folder='{tmp_path / 'rois'}'")
    events: list[Event] = []
    run_archive([slides], out, config, on_event=events.append)
    assert not [event for event in events if event.kind == "region_done"]
    score = read_score(folder_of(out, "first") / "score.json")
    assert score.population == "roi"
    by_run = every_byte(folder_of(out, "first").parent)
    again(out, force=True)
    assert every_byte(folder_of(out, "first").parent) == by_run


def test_the_command_scores_and_respects_the_lock(out: Path) -> None:
    command = ["score", str(out), "--set", "score.min_cells=100000", "--json"]
    with locked(out):
        assert CliRunner().invoke(cli, command).exit_code == 3
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    outcomes = [json.loads(line)["outcome"] for line in result.stdout.splitlines()]
    assert outcomes == ["failed_before", "scored", "scored", "unfinished"]
    assert row_of(out, "first")["status"] == "too_few_cells"
    assert "too_few_cells" in (out / "report.html").read_text(encoding="utf-8").replace(" ", "_")


def test_nothing_counted_has_no_index(out: Path) -> None:
    score = again(out, {"prediction": {"threshold": 1e6}})["first"].score
    assert score is not None
    assert (score.counts.total, score.ki67.index_pct, score.ki67.wilson95) == (0, None, None)
    assert (score.status, row_of(out, "first")["index_pct"]) == ("too_few_cells", "")
