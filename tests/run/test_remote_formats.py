"""Slides of several files behind a URL, in whole runs: the bytes of a run over the local files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.run.archive import run_archive
from pipeline.run.events import Event, RunSummary
from tests.io.conftest import writer
from tests.io.remote_servers import BUCKET, web_server
from tests.processes import await_true
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes

pytest.importorskip("pydicom", reason="writing DICOM needs pydicom")
pytestmark = pytest.mark.slow

NAMES = ["mirax.mrxs", "scan.ndpi", "series/level0.dcm"]
COPIED = {".mrxs", ".dat", ".dcm", ".ndpi"}
SMALL = ("--width", "1300", "--height", "1100", "--levels", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, s3: Any) -> Path:
    """A MIRAX slide, a DICOM series and an NDPI file, local and in the bucket."""
    folder = tmp_path_factory.mktemp("local")
    writer("mirax").write([str(folder / "mirax.mrxs"), *SMALL])
    writer("ndpi").write([str(folder / "scan.ndpi"), *SMALL])
    writer("dicom_wsi").write([str(folder / "series"), *SMALL])
    s3.put(f"{folder}/", f"{BUCKET}/2026/", recursive=True)
    return folder


Run = Callable[..., RunSummary]


@pytest.fixture(scope="module")
def run(configure: Configure, s3_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run an input into a folder; copies of its slides are gone soon after."""
    scratch = tmp_path_factory.mktemp("scratch")
    config = configure(s3_cluster, f"inputs.scratch={json.dumps(str(scratch))}")

    def start(place: str | Path, out: Path, tell: Callable[[Event], None] | None = None) -> Any:
        summary = run_archive([place], out, config, on_event=tell)
        await_true(lambda: not any(path.suffix in COPIED for path in scratch.rglob("*")))
        return summary

    return start


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, folder: Path, run: Run) -> Path:
    """Results of a run over the local files."""
    out = tmp_path_factory.mktemp("local") / "out"
    records = run(folder, out).records
    assert [(record.name, record.outcome) for record in records] == [(n, "scored") for n in NAMES]
    assert all(record.score.counts.total for record in records)
    return out


def check_same(run: Run, place: str, out: Path, local: Path) -> None:
    records = run(place, out).records
    assert [(record.name, record.outcome) for record in records] == [(n, "scored") for n in NAMES]
    found, expected = result_bytes(out), result_bytes(local)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert {record.outcome for record in run(place, out).records} == {"already_done"}


def test_a_bucket_gives_the_bytes_of_the_local_files(
    tmp_path: Path, folder: Path, run: Run, local: Path
) -> None:
    check_same(run, f"s3://{BUCKET}/2026/", tmp_path / "out", local)


def test_a_web_folder_gives_the_bytes_of_the_local_files(
    tmp_path: Path, folder: Path, run: Run, local: Path
) -> None:
    with web_server() as web:
        for path in filter(Path.is_file, folder.rglob("*")):
            web.objects[f"2026/{path.relative_to(folder)}"] = path.read_bytes()
        check_same(run, web.url("2026/"), tmp_path / "out", local)


def test_a_member_that_changed_or_is_missing_in_the_bucket_is_named(
    tmp_path: Path, s3: Any, folder: Path, run: Run
) -> None:
    place, out = f"s3://{BUCKET}/members/", tmp_path / "out"
    changing = shutil.copytree(folder, tmp_path / "changing")
    shutil.rmtree(changing / "series")
    (changing / "scan.ndpi").unlink()
    s3.put(f"{changing}/", f"{BUCKET}/members/", recursive=True)
    assert run(place, out).records[0].outcome == "scored"
    told: list[str] = []
    s3.pipe_file(f"{BUCKET}/members/mirax/more.txt", b"a note of the scanner")
    run(place, out, lambda event: told.append(event.message))
    assert [line for line in told if "slide content (more.txt is new) changed" in line], told
    s3.rm_file(f"{BUCKET}/members/mirax/Data0001.dat")
    failed = run(place, out).records[0]
    assert failed.outcome == "failed"
    assert "Data0001.dat" in (failed.score.reason or "")
