"""A run that is killed, whole or in part, at any moment, is gone on with to the same bytes."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.run import archive
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from pipeline.run.plan import REGION_SUFFIX
from tests.faults.ki67 import ROOT, begin, wait_for
from tests.processes import ended, start
from tests.run.conftest import Configure
from tests.run.small_slides import children, gone, result_bytes

SEED = 20261123
REGION_FILES = f"slides/*/.work/regions/*{REGION_SUFFIX}"


@pytest.mark.slow
def test_a_run_killed_at_random_moments_again_and_again_ends_in_the_same_bytes(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    rng = random.Random(SEED)  # noqa: S311 - moments, no secrets
    for moment in range(12):
        run = begin(slides, tmp_path, configure().prediction.model)
        while not list(tmp_path.glob(".running/*.txt")) and run.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.5))
        below = children(run.pid)
        if moment % 2 and below:
            os.kill(rng.choice(below), signal.SIGKILL)  # a worker first, then the driver
            time.sleep(rng.uniform(0.0, 0.3))
        run.kill()
        run.communicate()
        assert gone(below, within_s=30)
    final = run_archive([slides], tmp_path, configure(scheduler, "prediction.region_tiles=1"))
    assert final.exit_code == 0
    assert result_bytes(tmp_path) == result_bytes(reference)


PLANTED = {
    "cells.parquet": b"half",
    "cells.geojson.gz": b"\x1f\x8b",
    "score.json": b'{"schema": 1,',
    "done.json": b'{"schema": 1, "files": {',
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_half_written_output_is_never_taken_for_a_whole_one(
    name: str,
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    scheduler: str,
    reference: Path,
) -> None:
    out = shutil.copytree(reference, tmp_path / "out")
    next(out.glob("slides/first-*")).joinpath(name).write_bytes(PLANTED[name])
    (out / "slides.csv").write_text("slide_id,sta")
    again = run_archive([slides], out, configure(scheduler))
    assert [record.outcome for record in again.records] == ["scored", "already_done"]
    assert result_bytes(out) == result_bytes(reference)
    assert len((out / "slides.csv").read_text().splitlines()) == 3


def test_a_missing_chunk_of_a_heatmap_is_noticed(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    out = shutil.copytree(reference, tmp_path / "out")
    chunks = [
        path for path in out.glob("slides/first-*/heatmap.ome.zarr/0/c/**/*") if path.is_file()
    ]
    chunks[0].unlink()
    again = run_archive([slides], out, configure(scheduler))
    assert [record.outcome for record in again.records] == ["scored", "already_done"]
    assert result_bytes(out) == result_bytes(reference)


@pytest.mark.slow
def test_a_killed_scheduler_that_comes_back_costs_the_tasks_under_way_only(
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    reference: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "BACK_OFF_S", 1.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    started: list[subprocess.Popen[str]] = []
    told: list[Event] = []

    def start_both() -> None:
        port = address.rpartition(":")[2]
        started.append(dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"))
        started.append(dask("worker", address, "--nthreads", "1", "--no-dashboard"))

    def kill_once() -> None:
        """While tasks are under way: the third region is on disk, the next were sent before."""
        while len(list(tmp_path.glob(REGION_FILES))) < 3:
            time.sleep(0.002)
        for process in started:
            process.kill()
        start_both()

    start_both()
    threading.Thread(target=kill_once, daemon=True).start()
    config = configure(f"cluster.scheduler={address}")
    summary = run_archive([slides], tmp_path, config, on_event=told.append)
    assert summary.exit_code == 0
    assert len(started) == 4
    assert any("the scheduler was lost" in event.message for event in told)
    assert result_bytes(tmp_path) == result_bytes(reference)


def dask(*words: str) -> subprocess.Popen[str]:
    """One of dask's own commands."""
    return start(
        [sys.executable, "-m", "dask", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_clock_that_jumps_gives_no_negative_time_and_the_same_bytes(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path
) -> None:
    clock = Path(__file__).with_name("jumping_clock")
    model = configure().prediction.model
    code, errors = ended(begin(slides, tmp_path, model, path=[clock]))
    assert code == 0, errors
    record = json.loads(next((tmp_path / "runs").glob("*.json")).read_text())
    assert all(slide["seconds"] >= 0 for slide in record["slides"])
    for path in tmp_path.glob("slides/*/score.json"):
        made = json.loads(path.read_text())["provenance"]
        begun, over = (datetime.fromisoformat(made[name]) for name in ("started", "ended"))
        assert begun.utcoffset() == over.utcoffset() is not None
        assert begun <= over
    assert result_bytes(tmp_path) == result_bytes(reference)


@pytest.mark.slow
def test_a_slide_without_permission_fails_alone_and_is_tried_again(
    tmp_path: Path, slides: Path, configure: Configure
) -> None:
    folder = tmp_path / "slides"
    shutil.copytree(slides, folder)
    (folder / "first.tif").chmod(0)
    model = configure().prediction.model
    code, errors = ended(begin(folder, tmp_path / "out", model, before=plain_user()))
    assert code == 1, errors
    assert "ermission denied" in errors
    scored = {path.parent.name[:6] for path in tmp_path.glob("out/slides/*/cells.parquet")}
    assert scored == {"second"}
    assert not list(tmp_path.glob("out/slides/first-*/done.json"))


def test_an_output_folder_without_permission_is_refused(
    tmp_path: Path, slides: Path, configure: Configure
) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    model = configure().prediction.model
    code, errors = ended(begin(slides, out, model, before=plain_user()))
    assert code == 2, errors
    assert "cannot be written" in errors.splitlines()[-1]
    assert not list(out.iterdir())


def plain_user() -> list[str]:
    """Words before a command that take away the right to read and write everything."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("nothing forbids the superuser anything here")
    rights = "-dac_override,-dac_read_search"
    return [setpriv, "--bounding-set", rights, "--inh-caps", rights]


@pytest.mark.slow
def test_of_two_runs_at_once_the_second_says_who_holds_the_folder(
    tmp_path: Path, slides: Path, configure: Configure
) -> None:
    first = begin(slides, tmp_path, configure().prediction.model)
    wait_for(first, tmp_path, ".lock")
    code, errors = ended(begin(slides, tmp_path, configure().prediction.model))
    assert code == 3, errors
    assert f"another run holds it (process {first.pid} on " in errors
    assert "last heartbeat" in errors
