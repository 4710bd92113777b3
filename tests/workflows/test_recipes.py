"""Every recipe runs on a small slide, as a person would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.small_slides import stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network

ROOT = Path(__file__).resolve().parents[2]


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


def test_nightly_archive_scores_once_and_then_leaves_the_slide_alone(
    tmp_path: Path, archive: Path, settings: Path
) -> None:
    words = (archive, "--out", tmp_path, "--config", settings)
    first = recipe("nightly_archive.py", *words)
    assert first.returncode == 0, first.stderr
    assert "1/1 2026/case.tif: ok" in first.stderr
    cells = next(tmp_path.glob("slides/*/cells.parquet"))
    written = cells.stat().st_mtime_ns
    assert recipe("nightly_archive.py", *words).returncode == 0
    assert cells.stat().st_mtime_ns == written


def test_nightly_archive_tells_a_wrong_setting_in_one_line(tmp_path: Path, archive: Path) -> None:
    wrong = recipe("nightly_archive.py", archive, "--out", tmp_path, "--set", "cluster.worker=1")
    assert wrong.returncode == 2
    assert "did you mean cluster.workers?" in wrong.stderr
    assert "Traceback" not in wrong.stderr
