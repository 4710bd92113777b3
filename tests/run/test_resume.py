"""A second run does only what is new, and says what changed."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from pipeline.errors import LockedError
from pipeline.io.cells import read_cells
from pipeline.run.archive import BatchStoppedError, run_archive
from pipeline.run.events import Event
from pipeline.run.lock import locked
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes, stained_tissue, worker_processes, write_slide


@pytest.fixture
def finished(tmp_path: Path, reference: Path) -> Path:
    """A copy of the reference run to be spoiled."""
    return shutil.copytree(reference, tmp_path / "finished")


@pytest.fixture
def one_slide(tmp_path: Path) -> Path:
    """A slide that may be replaced."""
    folder = tmp_path / "one"
    folder.mkdir()
    return write_slide(folder / "one.tif", stained_tissue(5, width=1300, height=1100))


def reasons(events: list[Event]) -> list[str]:
    return [event.message for event in events if event.kind == "slide_started"]


def test_a_finished_slide_is_left_alone(
    finished: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    marks = {path: path.stat().st_mtime_ns for path in finished.glob("slides/*/*")}
    os.utime(slides / "first.tif")  # a server whose times are not to be relied on
    summary = run_archive([slides], finished, configure(scheduler))
    assert [record.outcome for record in summary.records] == ["already_done", "already_done"]
    assert [record.score.status for record in summary.records] == ["ok", "ok"]
    assert {path: path.stat().st_mtime_ns for path in finished.glob("slides/*/*")} == marks


def test_a_slide_with_a_damaged_result_is_made_again(
    finished: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    first, _ = sorted((finished / "slides").iterdir())
    (first / "cells.parquet").write_bytes(b"half a file")
    events: list[Event] = []
    summary = run_archive([slides], finished, configure(scheduler), on_event=events.append)
    assert [record.outcome for record in summary.records] == ["scored", "already_done"]
    assert reasons(events) == ["computed again: it had failed or a result file is missing"]
    assert result_bytes(finished) == result_bytes(reference)


@pytest.mark.parametrize("lost", ["heatmap.ome.zarr", ".work/tissue.npz", ".work/look.npz"])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_an_unfinished_slide_lost_is_made_again(
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    scheduler: str,
    reference: Path,
    lost: str,
    damaged: bool,
) -> None:
    def stop(event: Event) -> None:
        if event.kind == "region_done" and event.done == 2:
            raise ConnectionAbortedError

    config = configure(scheduler, "prediction.region_tiles=1")
    with pytest.raises(ConnectionAbortedError):
        run_archive([slides / "first.tif"], tmp_path / "out", config, on_event=stop)
    path = next((tmp_path / "out" / "slides").glob(f"first-*/{lost}"))
    if path.is_dir() and damaged:
        (path / "zarr.json").write_bytes(b"{")
    elif path.is_dir():
        shutil.rmtree(path)
    elif damaged:
        path.write_bytes(b"half a file")
    else:
        path.unlink()

    summary = run_archive([slides], tmp_path / "out", config)
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    assert result_bytes(tmp_path / "out") == result_bytes(reference)


def test_a_changed_setting_is_named(
    finished: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    events: list[Event] = []
    changed = configure(scheduler, "prediction.threshold=3.0")
    run_archive([slides / "second.tif"], finished, changed, on_event=events.append)
    told = [event.message for event in events if event.kind == "notice"]
    assert told == ["second.tif: scored again, not predicted: prediction.threshold changed"]
    assert reasons(events) == []
    folder = next(finished.glob("slides/second-*"))
    assert read_cells(folder / "cells.parquet").score.min() >= 3.0


def test_a_replaced_slide_is_noticed_by_its_content(
    tmp_path: Path, one_slide: Path, configure: Configure, scheduler: str
) -> None:
    run_archive([one_slide], tmp_path / "out", configure(scheduler))
    write_slide(one_slide, stained_tissue(6, width=1300, height=1100))
    events: list[Event] = []
    run_archive([one_slide], tmp_path / "out", configure(scheduler), on_event=events.append)
    assert reasons(events) == ["computed again: slide content changed"]


def test_a_slide_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, one_slide: Path, configure: Configure, scheduler: str
) -> None:
    other = write_slide(tmp_path / "other.tif", stained_tissue(6, width=1300, height=1100))

    def replace(event: Event) -> None:
        if event.kind == "region_done" and other.exists():
            other.replace(one_slide)

    summary = run_archive([one_slide], tmp_path / "out", configure(scheduler), on_event=replace)
    assert summary.exit_code == 0
    run_archive([one_slide], tmp_path / "fresh", configure(scheduler))
    assert result_bytes(tmp_path / "out") == result_bytes(tmp_path / "fresh")


def test_results_stay_when_the_slide_cannot_be_reached(
    tmp_path: Path, one_slide: Path, configure: Configure, scheduler: str
) -> None:
    run_archive([one_slide], tmp_path / "out", configure(scheduler))
    before = result_bytes(tmp_path / "out")
    away = one_slide.rename(tmp_path / "away.tif")
    assert run_archive([one_slide], tmp_path / "out", configure(scheduler)).exit_code == 1
    assert result_bytes(tmp_path / "out") == before
    away.rename(one_slide)
    back = run_archive([one_slide], tmp_path / "out", configure(scheduler))
    assert [record.outcome for record in back.records] == ["already_done"]


def test_a_slide_that_kills_its_workers_fails_and_the_next_run_tries_again(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path
) -> None:
    others = set(worker_processes())
    killed: list[int] = []

    def kill_once(event: Event) -> None:
        if event.kind == "region_done" and event.done >= 3 and not killed:
            killed.extend(set(worker_processes()) - others)
            os.kill(killed[0], signal.SIGKILL)

    config = configure("cluster.workers=1", "cluster.allowed_failures=0", "cluster.retries=0")
    failed = run_archive([slides / "first.tif"], tmp_path, config, on_event=kill_once)
    score = failed.records[0].score
    assert score.status == "failed"
    assert (score.reason or "").startswith("worker killed repeatedly (region ")
    # with a retry the tasks that lost their worker go alone, and one death harms nobody
    killed.clear()
    config = configure("cluster.workers=1", "cluster.allowed_failures=1", "cluster.retries=0")
    again = run_archive([slides], tmp_path, config, on_event=kill_once)
    assert killed
    assert [record.outcome for record in again.records] == ["scored", "scored"]
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_an_output_folder_that_gives_out_stops_the_batch_and_blames_no_slide(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    (tmp_path / "slides").write_text("a file where the folder should be")
    with pytest.raises(BatchStoppedError, match="a file"):
        run_archive([slides], tmp_path, configure(scheduler))
    assert not list(tmp_path.glob("**/score.json"))


def test_two_runs_never_share_a_folder(
    finished: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    with locked(finished), pytest.raises(LockedError, match="another run holds it"):
        run_archive([slides], finished, configure(scheduler))
