"""The same slide gives the same bytes, whatever the workers, the regions, kills and restarts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.errors import InterruptedRunError
from pipeline.io.cells import read_cells
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from tests.run.conftest import Configure
from tests.run.small_slides import children, gone, result_bytes, worker_processes

ROOT = Path(__file__).resolve().parents[2]


def command(slides: Path, out: Path, config: RunConfig) -> list[str]:
    """``ki67 run`` with one tile a region: many regions to be stopped between."""
    pairs = [
        f"prediction.model='{config.prediction.model}'",
        "prediction.tile_core_px=128",
        "prediction.region_tiles=1",
        "tissue.margin_um=20",
        "score.min_cells=10",
        "cluster.dashboard=false",
        "cluster.workers=2",
    ]
    settings = [word for pair in pairs for word in ("--set", pair)]
    return [sys.executable, "-m", "pipeline", "run", str(slides), "--out", str(out), *settings]


def region_files(out: Path) -> list[Path]:
    return list(out.glob("slides/*/.work/regions/*.npz"))


def started(slides: Path, out: Path, config: RunConfig, regions: int) -> subprocess.Popen[str]:
    """Start a run in a process of its own and wait until it has written some regions."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    run = subprocess.Popen(
        command(slides, out, config), stderr=subprocess.PIPE, text=True, env=environment
    )
    while len(region_files(out)) < regions:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.02)
    return run


def resumed(slides: Path, out: Path, config: RunConfig) -> list[Event]:
    """Go on with a stopped run in this process."""
    events: list[Event] = []
    summary = run_archive([slides], out, config, on_event=events.append)
    assert [record.score.status for record in summary.records] == ["ok", "ok"]
    return events


def test_the_reference_has_cells_of_both_labels_and_candidates(reference: Path) -> None:
    for folder in sorted((reference / "slides").iterdir()):
        cells = read_cells(folder / "cells.parquet")
        assert min(cells.positive, cells.negative) > 20
        assert len(read_cells(folder / "candidates.parquet")) > 20


def test_one_worker_and_two_give_the_same_bytes(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path
) -> None:
    run_archive([slides], tmp_path, configure("cluster.workers=1"))
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_another_region_size_gives_the_same_bytes(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    run_archive([slides], tmp_path, configure(scheduler, "prediction.region_tiles=3"))
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_workers_killed_on_the_way_change_nothing(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    killed: list[int] = []

    def kill_some(event: Event) -> None:
        if event.kind == "region_done" and event.done % 3 == 2 and len(killed) < 3:
            killed.append(worker_processes()[0])
            os.kill(killed[-1], signal.SIGKILL)

    summary = run_archive([slides], tmp_path, configure(scheduler), on_event=kill_some)
    assert len(set(killed)) == 3
    assert summary.exit_code == 0
    assert result_bytes(tmp_path) == result_bytes(reference)


def plant_half_written(folder: Path) -> None:
    """What a worker leaves that is killed while it writes."""
    (folder / ".0123abcd.partial" / "0").mkdir(parents=True)
    (folder / ".0123abcd.partial" / "0" / "zarr.json").write_text("{")
    (folder / ".4567cdef.partial").write_text("half")


def test_a_killed_driver_is_resumed_without_doing_a_region_twice(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    run = started(slides, tmp_path, configure(), regions=4)
    workers = children(run.pid)
    run.kill()
    run.communicate()
    assert gone(workers, within_s=60)
    kept = len(region_files(tmp_path))
    plant_half_written(next((tmp_path / "slides").glob("first-*")))
    events = resumed(slides, tmp_path, configure(scheduler, "prediction.region_tiles=1"))
    begun = [event for event in events if event.kind == "slide_started"]
    computed = sum(event.kind == "region_done" for event in events)
    assert sum(event.done for event in begun) == kept >= 4
    assert computed == sum(event.total for event in begun) - kept
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_sigterm_ends_a_run_in_good_order_and_the_next_goes_on(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    run = started(slides, tmp_path, configure(), regions=3)
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 75, errors
    assert errors.splitlines()[-1].startswith("ki67: error: stopped on request"), errors
    assert not (tmp_path / ".lock").exists()
    resumed(slides, tmp_path, configure(scheduler, "prediction.region_tiles=1"))
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_a_request_to_stop_keeps_what_is_done(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    def ask(event: Event) -> None:
        if event.kind == "region_done" and event.done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="run the same command"):
        run_archive([slides], tmp_path, configure(scheduler), on_event=ask)
    assert len(region_files(tmp_path)) >= 2
    resumed(slides, tmp_path, configure(scheduler))
    assert result_bytes(tmp_path) == result_bytes(reference)
