"""What preflight says is what the run does: the same slides fail, the same tiles are predicted."""

import csv
import ctypes
import json
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.io.results import read_score
from pipeline.run.archive import run_archive
from pipeline.run.basis import read_model
from pipeline.run.events import RunSummary
from pipeline.run.preflight.isolated import ChildError, in_children
from pipeline.run.preflight.outlook import Outlook
from pipeline.run.preflight.survey import Survey, survey
from tests.io.conftest import writer
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes, spoil_tile, stained_tissue, write_slide

WIDTH, HEIGHT = 900, 800
MORE = ("slides.max_unreadable_pct=1",)


@dataclass(frozen=True)
class Batch:
    """A mixed folder, what preflight said of it and what the run made of it."""

    folder: Path
    out: Path
    config: RunConfig
    before: Survey
    summary: RunSummary

    def said(self, name: str) -> Outlook:
        return next(slide for slide in self.before.slides if slide.name == name)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    pixels = stained_tissue(3, width=WIDTH, height=HEIGHT)
    good = write_slide(folder / "good.tif", pixels)
    (folder / "empty.svs").write_bytes(b"")
    (folder / "letter.svs").write_text("Dear colleague\n" * 99)
    (folder / "cut.tif").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    write_slide(folder / "silent.tif", pixels, mpp=None)
    write_slide(folder / "screen.tif", pixels, mpp=25400 / 72)
    write_slide(folder / "coarse.tif", pixels, mpp=1.6)
    spoil_tile(write_slide(folder / "spoiled.tif", pixels), 5)
    write_slide(folder / "glass.tif", np.full((HEIGHT, WIDTH, 3), 243, np.uint8))
    small = stained_tissue(5, width=600, height=500)
    for name in ("aperio", "leica"):
        writer("vendor_tiffs").write(name, folder / f"vendor-{name}.tif", small)
    writer("mirax").write(
        [str(folder / "complete.mrxs"), "--levels", "3", "--width", "800", "--height", "700"]
    )
    (folder / "alone.mrxs").write_bytes((folder / "complete.mrxs").read_bytes())
    return folder


@pytest.fixture(scope="module")
def batch(
    tmp_path_factory: pytest.TempPathFactory, mixed: Path, configure: Configure, scheduler: str
) -> Batch:
    out = tmp_path_factory.mktemp("preflight") / "out"
    config = configure(scheduler, *MORE)
    inputs = [mixed, mixed / "absent.tif"]
    before = survey(inputs, config, out=out, read_all=True, trial=False)
    assert not out.exists()
    return Batch(mixed, out, config, before, run_archive(inputs, out, config))


def test_what_preflight_says_will_fail_is_exactly_what_fails(batch: Batch) -> None:
    said = {slide.name for slide in batch.before.slides if slide.verdict == "will fail"}
    failed = {record.name for record in batch.summary.records if record.outcome == "failed"}
    assert said == failed
    assert {"empty.svs", "letter.svs", "cut.tif", "silent.tif", "absent.tif"} <= failed
    assert {"screen.tif", "coarse.tif", "spoiled.tif", "alone.mrxs"} <= failed
    assert batch.before.will_fail


def test_the_reasons_are_those_of_the_run(batch: Batch) -> None:
    for record in batch.summary.records:
        if record.outcome == "failed":
            assert batch.said(record.name).reason == record.score.reason


def test_tissue_regions_tiles_and_resolution_are_those_of_the_run(batch: Batch) -> None:
    scored = [record for record in batch.summary.records if record.outcome == "scored"]
    assert len(scored) >= 5
    for record in scored:
        said, folder = batch.said(record.name), batch.out / "slides" / record.slide_id
        plan, score = read_model(folder)[2], read_score(folder / "score.json")
        assert said.tissue_mm2 == pytest.approx(score.area_mm2.tissue, abs=1e-5)
        assert (said.tiles, said.tiles_left) == (plan.tiles, plan.tiles)
        assert (said.mpp_x, said.mpp_y) == score.slide.mpp
        assert (said.reader, said.vendor) == (score.slide.reader, score.slide.vendor)
        assert (said.width, said.height) == (score.slide.width, score.slide.height)
        made = json.loads((folder / "done.json").read_text())["made"]
        assert said.regions == made["regions"]


def test_after_the_run_nothing_is_left_and_known_failures_are_no_new_ones(batch: Batch) -> None:
    inputs = [path for path in [batch.folder] if path.exists()]
    before = result_bytes(batch.out)
    after = survey(inputs, batch.config, out=batch.out, trial=False)
    assert not after.will_fail
    assert set(after.counts) == {"done", "known failure"}
    assert sum(slide.tiles_left or 0 for slide in after.slides) == 0
    for slide in after.slides:
        if slide.verdict == "done":
            said = batch.said(slide.name)
            assert (slide.tiles, slide.regions) == (said.tiles, said.regions)
    assert result_bytes(batch.out) == before


def test_a_changed_setting_is_named_before_anything_is_computed_again(
    batch: Batch, configure: Configure, scheduler: str
) -> None:
    good = batch.folder / "good.tif"
    finer = configure(scheduler, *MORE, "tissue.min_piece_mm2=0.01")
    (slide,) = survey([good], finer, out=batch.out, trial=False).slides
    assert slide.verdict == "predict"
    assert slide.reason == "computed again: tissue.min_piece_mm2 changed"
    other = configure(scheduler, *MORE, "score.min_cells=11")
    (slide,) = survey([good], other, out=batch.out, trial=False).slides
    assert (slide.verdict, slide.tiles_left) == ("score again", 0)
    assert "score.min_cells" in slide.reason


def test_a_missing_region_of_interest_is_told_where_one_is_required(
    batch: Batch, tmp_path: Path, configure: Configure, scheduler: str
) -> None:
    config = configure(scheduler, f"roi.folder={json.dumps(str(tmp_path))}", "roi.required=true")
    (slide,) = survey([batch.folder / "good.tif"], config, trial=False).slides
    assert slide.verdict == "will fail"
    assert "name its file good.geojson" in slide.reason


def test_an_unreadable_region_of_interest_is_told(
    batch: Batch, tmp_path: Path, configure: Configure, scheduler: str
) -> None:
    (tmp_path / "good.geojson").write_text("{")
    config = configure(scheduler, f"roi.folder={json.dumps(str(tmp_path))}")
    (slide,) = survey([batch.folder / "good.tif"], config, trial=False).slides
    assert slide.verdict == "will fail"
    assert "not JSON" in slide.reason


def test_a_trial_measures_time_and_disk_and_leaves_nothing(
    batch: Batch, tmp_path: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = survey([batch.folder / "good.tif"], configure(), out=tmp_path / "out")
    assert found.expected_s is not None
    assert found.expected_bytes is not None
    assert 0 < found.expected_s < 600
    assert "trial of 4 tiles of good.tif" in found.source
    real = sum(
        path.stat().st_size
        for record in batch.summary.records
        if record.name == "good.tif"
        for path in (batch.out / "slides" / record.slide_id).rglob("*")
        if path.is_file()
    )
    assert real / 3 < found.expected_bytes < real * 3
    assert not list(tmp_path.glob("ki67*"))
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_line_a_slide_and_the_same_as_csv(
    batch: Batch, tmp_path: Path, configure: Configure
) -> None:
    model = configure().prediction.model
    table = tmp_path / "table.csv"
    arguments = ["preflight", str(batch.folder), "--no-trial", "--csv", str(table)]
    settings = ["--set", f"prediction.model={json.dumps(model)}", "--set", "inputs.settle_s=0"]
    done = CliRunner().invoke(cli, [*arguments, *settings])
    assert done.exit_code == 1
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    for row in rows:
        assert f"{row['name']}: {row['verdict']}" in done.output
    good = [str(batch.folder / "good.tif"), "--no-trial", "--json", *settings]
    fine = CliRunner().invoke(cli, ["preflight", *good])
    assert fine.exit_code == 0
    assert json.loads(fine.stdout)["counts"] == {"predict": 1}
    assert (
        CliRunner().invoke(cli, ["preflight", str(tmp_path / "nothing" / "*.svs")]).exit_code == 2
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("prediction.device=cuda",), "hides them all"),
        (("cluster.kind=factory", "cluster.factory=os:nope"), "no attribute 'nope'"),
    ],
)
def test_a_run_that_would_not_start_is_no_promise(
    mixed: Path,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = configure(*settings)
    with pytest.raises(ConfigError, match=reason):
        survey([mixed / "good.tif"], config, trial=False)
    # where nothing is left to do no worker is started, and none is asked for
    assert survey([mixed / "empty.svs"], config, trial=False).slides[0].verdict == "will fail"


def test_a_child_that_crashes_or_hangs_costs_one_answer() -> None:
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (os.kill, (0, 0)),
        (ctypes.string_at, (0,)),
        (time.sleep, (60,)),
        (struct.calcsize, ("<I",)),
        (bytearray, (8 << 30,)),
    ]
    fine, killed, hung, answer, swollen = in_children(
        calls, workers=1, timeout_s=2, memory_bytes=4 << 30
    )
    assert fine is None
    assert isinstance(killed, ChildError)
    assert "SIGSEGV" in str(killed)
    assert isinstance(hung, ChildError)
    assert "no answer in 2 s" in str(hung)
    assert answer == 4
    assert isinstance(swollen, MemoryError)
