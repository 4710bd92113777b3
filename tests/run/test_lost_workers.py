"""A pool keeps its size: a worker that dies or freezes is replaced, however long that takes."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.errors import InterruptedRunError
from pipeline.run.archive import run_archive
from pipeline.run.clusters import connect
from pipeline.run.events import Event
from tests.processes import PATIENCE_S, await_true
from tests.run.conftest import Configure
from tests.run.small_slides import gone, result_bytes, worker_processes


def test_a_worker_is_not_given_up_while_its_replacement_starts() -> None:
    # dask's patience, here far shorter than a process takes to start
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        connect(ClusterSettings(workers=1, dashboard=False)) as client,
    ):
        (before,) = processes(client)
        os.kill(before, signal.SIGKILL)
        await_true(lambda: processes(client) - {before})
        assert len(processes(client)) == 1


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """While this file is there, a worker process ends as it starts."""
    return tmp_path / "broken"


@pytest.fixture
def machine(tmp_path: Path, broken: Path, configure: Configure) -> tuple[str, ...]:
    preload = tmp_path / "starts.py"
    preload.write_text(f"import os\nif os.path.exists({str(broken)!r}):\n    os._exit(3)\n")
    return (f'cluster.preload=["{preload}"]', "cluster.worker_wait_s=2")


def test_workers_that_do_not_start_are_told_in_a_line_and_cost_nothing(
    tmp_path: Path, slides: Path, configure: Configure, broken: Path, machine: tuple[str, ...]
) -> None:
    broken.touch()
    with pytest.raises(InterruptedRunError, match=r"no worker process starts .* `ki67 doctor`"):
        run_archive([slides], tmp_path / "out", configure(*machine))
    assert not list((tmp_path / "out").glob("slides/*/score.json"))


def test_a_worker_that_is_killed_as_it_starts_does_not_end_the_run(tmp_path: Path) -> None:
    once = tmp_path / "once"
    once.touch()
    preload = tmp_path / "killed.py"
    preload.write_text(
        f"import os, signal\nif os.path.exists({str(once)!r}):\n"
        f"    os.unlink({str(once)!r})\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    settings = ClusterSettings(workers=2, dashboard=False, preload=(str(preload),))

    with connect(settings) as client:
        client.wait_for_workers(2, timeout=PATIENCE_S)
        assert client.submit(sum, (1, 2)).result() == 3

    assert not once.exists()


@pytest.mark.slow
def test_workers_that_cannot_be_replaced_end_the_run_and_it_goes_on_later(
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    reference: Path,
    broken: Path,
    machine: tuple[str, ...],
) -> None:
    def break_down(event: Event) -> None:
        if event.kind == "region_done" and not broken.exists():
            broken.touch()
            for pid in worker_processes():
                os.kill(pid, signal.SIGKILL)

    config = configure(*machine, "prediction.region_tiles=1")
    with pytest.raises(InterruptedRunError, match="no worker for 2 s; no worker process starts"):
        run_archive([slides], tmp_path / "out", config, on_event=break_down)
    broken.unlink()
    assert run_archive([slides], tmp_path / "out", config).exit_code == 0
    assert result_bytes(tmp_path / "out") == result_bytes(reference)


@pytest.mark.slow
def test_a_worker_that_is_frozen_in_a_region_is_replaced_and_changes_nothing(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path
) -> None:
    frozen: list[int] = []
    told: list[str] = []

    def freeze_one(event: Event) -> None:
        told.append(event.message)
        if event.kind == "region_done" and not frozen:
            frozen.extend(freeze_in_a_region(tmp_path))

    config = configure("prediction.region_tiles=1")
    try:
        # dask waits for ten signs of life at least, which are due every half second
        with dask.config.set({"distributed.scheduler.worker-ttl": "8s"}):
            summary = run_archive([slides / "second.tif"], tmp_path, config, on_event=freeze_one)
        assert summary.exit_code == 0
        assert frozen
        assert any("it is tried alone" in line for line in told), told
        assert gone(frozen, within_s=10)
        assert result_bytes(tmp_path) == result_bytes(reference, "second-")
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def freeze_in_a_region(out: Path) -> list[int]:
    """Stop the process of a worker that is in the middle of a region now; [] where none is."""
    for mark in out.glob(".running/*.region-*.txt"):
        try:
            pid = int(mark.read_text(encoding="utf-8").split()[1].removeprefix("pid="))
        except (FileNotFoundError, IndexError):  # it ends or begins just now
            continue
        os.kill(pid, signal.SIGSTOP)
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        if mark.exists():
            return [pid]
        os.kill(pid, signal.SIGCONT)
    return []


def processes(client: Client) -> set[int]:
    """Process ids of the workers that are there; one that is just dying gives no answer."""
    return set(client.run(os.getpid, on_error="ignore").values())
