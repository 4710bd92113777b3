"""The same slide gives the same bytes, whatever the workers, the regions, kills and restarts."""

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.errors import InterruptedRunError
from pipeline.io.cells import read_cells
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from pipeline.run.plan import REGION_SUFFIX
from tests.faults.ki67 import begin, wait_for
from tests.run.conftest import Configure
from tests.run.small_slides import children, gone, result_bytes, worker_processes

pytestmark = pytest.mark.slow

REGION_FILES = f"slides/*/.work/regions/*{REGION_SUFFIX}"


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
            # regions that were done before come after a kill, and its process is seen for a while
            while not (living := [pid for pid in worker_processes() if pid not in killed]):
                time.sleep(0.02)
            killed.append(living[0])
            os.kill(killed[-1], signal.SIGKILL)

    summary = run_archive([slides], tmp_path, configure(scheduler), on_event=kill_some)
    assert len(killed) == 3
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
    run = begin(slides, tmp_path, configure().prediction.model)
    wait_for(run, tmp_path, REGION_FILES, at_least=4)
    workers = children(run.pid)
    run.kill()
    run.communicate()
    assert gone(workers, within_s=60)
    kept = len(list(tmp_path.glob(REGION_FILES)))
    plant_half_written(next((tmp_path / "slides").glob("first-*")))
    events = resumed(slides, tmp_path, configure(scheduler, "prediction.region_tiles=1"))
    begun = [event for event in events if event.kind == "slide_started"]
    computed = sum(event.kind == "region_done" for event in events)
    assert sum(event.done for event in begun) == kept >= 4
    assert computed == sum(event.total for event in begun) - kept
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_a_request_to_stop_keeps_what_is_done(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    def ask(event: Event) -> None:
        if event.kind == "region_done" and event.done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="run the same command"):
        run_archive([slides], tmp_path, configure(scheduler), on_event=ask)
    assert len(list(tmp_path.glob(REGION_FILES))) >= 2
    resumed(slides, tmp_path, configure(scheduler))
    assert result_bytes(tmp_path) == result_bytes(reference)
