"""Every recipe runs on a small slide, as a person would run it."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.small_slides import stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

SHORT_TRAINING = """
architecture = "m_hrnet_tiny"
crop_px = 64
batch = 1
steps = 2
validate_every = 1
[card]
name = "tiny"
population = "synthetic nuclei"
caveat = "a test"
licence = "none"
halo_px = 32
""" + "".join(
    f"""
[[{role}]]
name = "fields"
kind = "synthetic"
mpp_um = 0.5
size_px = 96
count = 1
seed = {seed}
"""
    for seed, role in enumerate(("training", "validation", "held_out"))
)


def recipe(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(ROOT / "workflows" / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one slide in a folder."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "2026").mkdir()
    write_slide(folder / "2026" / "case.tif", stained_tissue(8, width=1300, height=1100))
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings for so small a slide."""
    folder = tmp_path_factory.mktemp("settings")
    model = save_tiny_network(folder / "tiny")
    path = folder / "small.toml"
    path.write_text(
        f"""
        [prediction]
        model = {json.dumps(str(model))}
        tile_core_px = 128

        [score]
        min_cells = 10

        [inputs]
        settle_s = 0

        [cluster]
        workers = 1
        dashboard = false
        """
    )
    return path


def test_single_slide_prints_the_index_and_what_was_counted(
    tmp_path: Path, archive: Path, settings: Path
) -> None:
    slide = archive / "2026" / "case.tif"
    done = recipe("single_slide.py", slide, tmp_path, "--config", settings)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert told["slide"] == "case.tif"
    assert told["status"].startswith("ok")
    assert told["Ki-67"].split()[1] == "%"
    assert told["counted"] == "a random network for tests"
    assert (Path(told["files"]) / "cells.parquet").exists()
    assert (tmp_path / "report.html").exists()


@pytest.fixture(scope="module")
def night(
    tmp_path_factory: pytest.TempPathFactory, archive: Path, settings: Path
) -> tuple[Path, str]:
    """Output folder of a night, and what was told of it."""
    out = tmp_path_factory.mktemp("night") / "first"
    done = recipe("nightly_archive.py", archive, "--out", out, "--config", settings)
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def test_nightly_archive_scores_once_and_then_leaves_the_slide_alone(
    archive: Path, settings: Path, night: tuple[Path, str]
) -> None:
    out, told = night
    assert "1/1 2026/case.tif: ok" in told
    cells = next(out.glob("slides/*/cells.parquet"))
    written = cells.stat().st_mtime_ns
    again = recipe("nightly_archive.py", archive, "--out", out, "--config", settings)
    assert again.returncode == 0, again.stderr
    assert cells.stat().st_mtime_ns == written


def test_nightly_archive_tells_a_wrong_setting_in_one_line(tmp_path: Path, archive: Path) -> None:
    wrong = recipe("nightly_archive.py", archive, "--out", tmp_path, "--set", "cluster.worker=1")
    assert wrong.returncode == 2
    assert "did you mean cluster.workers?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_cohort_report_joins_the_slides_of_several_runs(
    tmp_path: Path, night: tuple[Path, str]
) -> None:
    folders = [shutil.copytree(night[0], tmp_path / name) for name in ("first", "second")]
    table = tmp_path / "cohort.csv"
    joined = recipe("cohort_report.py", *folders, "--table", table)
    assert joined.returncode == 0, joined.stderr
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["folder"] for row in rows] == ["first", "second"]
    assert {row["slide"] for row in rows} == {"2026/case.tif"}
    assert rows[0]["index_pct"] == rows[1]["index_pct"]


def test_train_and_evaluate_leaves_a_model_and_its_figures(tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(SHORT_TRAINING)
    done = recipe("train_and_evaluate.py", config, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "tiny" / "weights.safetensors").exists()
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert figures["fields"]["at_3.125_um"]["fields"] == 1
    assert "| fields | 1 |" in done.stdout
