"""A watch takes slides when their copy is complete, never half, and outlives what goes wrong."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.cli import cli
from pipeline.errors import ConfigError, InterruptedRunError, LockedError
from pipeline.run.events import Event, RunSummary
from pipeline.run.lock import locked
from pipeline.run.watch import Rhythm, watch_archive
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes

SETTLE_S = 2.0
PAUSE_S = 0.3
"""Of a copy, well below what counts as settled."""
EVERY_S = 0.2
PATIENCE_S = 600.0


class Watching:
    """A watch in a thread, and what it told."""

    def __init__(self, start: Callable[[Callable[[Event], None]], RunSummary]) -> None:
        self.events: list[Event] = []
        self.summary: RunSummary | None = None
        self._start = start
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.summary = self._start(self.events.append)

    @property
    def notices(self) -> list[str]:
        return [event.message for event in list(self.events) if event.kind == "notice"]

    def ends(self) -> list[tuple[str, str]]:
        """Name and outcome of every slide, in the order they ended."""
        records = [event.record for event in list(self.events) if event.record is not None]
        return [(record.name, record.outcome) for record in records]

    def until(self, there: Callable[["Watching"], object]) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not there(self):
            assert self._thread.is_alive(), self.notices
            assert time.monotonic() < ends, (self.ends(), self.notices)
            time.sleep(0.05)

    def join(self) -> RunSummary:
        self._thread.join(PATIENCE_S)
        assert self.summary is not None, self.notices
        return self.summary


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def watch(
    tmp_path: Path, archive: Path, configure: Configure, scheduler: str
) -> Iterator[Callable[..., Watching]]:
    """Start a watch of the archive that ends when nothing arrived for ``idle_s``."""
    started = []

    def start(idle_s: float = 4.0, *inputs: Path) -> Watching:
        config = configure(scheduler, f"inputs.settle_s={SETTLE_S}")
        watching = Watching(
            lambda tell: watch_archive(
                inputs or [archive],
                tmp_path / "out",
                config,
                Rhythm(EVERY_S, idle_s),
                on_event=tell,
            )
        )
        started.append(watching)
        return watching

    yield start
    for watching in started:
        watching._thread.join(PATIENCE_S)


def scored_rows(out: Path) -> list[str]:
    return (out / "slides.csv").read_text(encoding="utf-8").splitlines()[1:]


def copy_slowly(source: Path, target: Path, *, pieces: int = 6, pause_s: float = PAUSE_S) -> None:
    """Append piece by piece, as a copy over a slow network does."""
    content = source.read_bytes()
    size = len(content) // pieces + 1
    with target.open("wb") as file:
        for start in range(0, len(content), size):
            file.write(content[start : start + size])
            file.flush()
            time.sleep(pause_s)


def test_a_slow_copy_is_scored_once_and_whole(
    tmp_path: Path, archive: Path, slides: Path, watch: Callable[..., Watching], reference: Path
) -> None:
    watching = watch()
    copy_slowly(slides / "second.tif", archive / "second.tif")
    watching.until(lambda w: w.ends())
    assert watching.join().exit_code == 0
    assert watching.ends() == [("second.tif", "scored")]
    assert watching.notices == ["arriving: second.tif"]
    made = result_bytes(tmp_path / "out")
    expected = {name: content for name, content in result_bytes(reference).items() if name in made}
    assert made == expected
    assert len(scored_rows(tmp_path / "out")) == 1


def test_a_slide_renamed_into_place_is_taken_although_its_name_before_was_none(
    archive: Path, slides: Path, watch: Callable[..., Watching]
) -> None:
    watching = watch()
    copy_slowly(slides / "second.tif", archive / ".second.tif.x7")
    (archive / ".second.tif.x7").rename(archive / "second.tif")
    assert watching.join().exit_code == 0
    assert watching.ends() == [("second.tif", "scored")]


@pytest.mark.slow
def test_old_times_kept_by_a_copy_do_not_make_half_of_it_a_slide(
    archive: Path, slides: Path, watch: Callable[..., Watching]
) -> None:
    watching = watch()
    time.sleep(2.0)  # its first look
    content = (slides / "second.tif").read_bytes()
    target = archive / "second.tif"
    for share in (0.2, 0.5, 1.0):
        target.write_bytes(content[: int(len(content) * share)])
        os.utime(target, (1.0, 1.0))
        time.sleep(PAUSE_S)
    assert watching.join().exit_code == 0
    assert watching.ends() == [("second.tif", "scored")]


@pytest.mark.slow
def test_a_mirax_file_waits_for_its_folder_and_for_all_of_it(
    archive: Path, watch: Callable[..., Watching]
) -> None:
    watching = watch(6.0)
    (archive / "case.mrxs").write_bytes(b"\xff\xd8 the preview")
    time.sleep(1.5 * SETTLE_S)
    assert not watching.ends()
    (archive / "case").mkdir()
    for number in range(4):
        (archive / "case" / f"Data{number:04}.dat").write_bytes(b"pixels")
        time.sleep(PAUSE_S)
        assert not watching.ends()
    summary = watching.join()
    # complete, but no slide: it fails once, and not again each round
    assert watching.ends() == [("case.mrxs", "failed")]
    assert summary.exit_code == 1


def test_a_series_is_one_slide_taken_after_its_last_file(
    archive: Path, watch: Callable[..., Watching]
) -> None:
    (archive / "series").mkdir()
    watching = watch()
    for number in range(1, 5):
        instance = Dataset()
        instance.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
        instance.SOPInstanceUID = f"1.2.{number}"
        instance.StudyInstanceUID, instance.SeriesInstanceUID = "1.2", "1.2.3"
        instance.file_meta = FileMetaDataset()
        instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = archive / "series" / f"{number}.dcm"
        instance.save_as(path, enforce_file_format=True)
        time.sleep(PAUSE_S)
        assert not watching.ends()
    watching.join()
    # files without pixels are no slide, but they are one
    assert [outcome for _, outcome in watching.ends()] == ["failed"]


def test_a_failed_slide_stops_nothing_and_is_tried_again_only_when_it_changed(
    tmp_path: Path, archive: Path, slides: Path, watch: Callable[..., Watching]
) -> None:
    good = (slides / "second.tif").read_bytes()
    (archive / "bad.tif").write_bytes(good[: len(good) // 3])
    watching = watch()
    watching.until(lambda w: w.ends())
    shutil.copy(slides / "second.tif", archive / "good.tif")
    watching.until(lambda w: len(w.ends()) > 1)
    time.sleep(1.0)
    assert watching.ends() == [("bad.tif", "failed"), ("good.tif", "scored")]
    (archive / "bad.tif").write_bytes(good)
    watching.until(lambda w: len(w.ends()) > 2)
    assert watching.join().exit_code == 0
    assert watching.ends()[2:] == [("bad.tif", "scored")]
    assert len(scored_rows(tmp_path / "out")) == 2


@pytest.mark.slow
def test_an_archive_that_goes_away_is_told_once_and_waited_for(
    tmp_path: Path, archive: Path, slides: Path, watch: Callable[..., Watching]
) -> None:
    shutil.copy(slides / "second.tif", archive / "second.tif")
    watching = watch(6.0)
    watching.until(lambda w: w.ends())
    archive.rename(tmp_path / "unmounted")
    watching.until(lambda w: any("waiting" in notice for notice in w.notices))
    time.sleep(4 * EVERY_S)
    (tmp_path / "unmounted").rename(archive)
    watching.until(lambda w: any("there again" in notice for notice in w.notices))
    shutil.copy(slides / "first.tif", archive / "first.tif")
    assert watching.join().exit_code == 0
    assert watching.ends() == [("second.tif", "scored"), ("first.tif", "scored")]
    assert [n for n in watching.notices if "arriving" not in n] == [
        f"{archive} is not there; waiting for it",
        f"{archive} is there again",
    ]


@pytest.mark.slow
def test_an_empty_mount_point_is_no_archive_without_slides(
    tmp_path: Path, archive: Path, slides: Path, watch: Callable[..., Watching]
) -> None:
    shutil.copy(slides / "second.tif", archive / "second.tif")
    watching = watch()
    watching.until(lambda w: w.ends())
    (archive / "second.tif").rename(tmp_path / "second.tif")
    watching.until(lambda w: any("is it mounted?" in notice for notice in w.notices))
    (tmp_path / "second.tif").rename(archive / "second.tif")
    watching.join()
    assert watching.ends() == [("second.tif", "scored")]


def test_a_watch_of_an_empty_folder_ends_with_0_and_holds_the_folder_meanwhile(
    tmp_path: Path, watch: Callable[..., Watching]
) -> None:
    watching = watch(1.5)
    watching.until(lambda _: (tmp_path / "out" / ".lock").exists())
    with pytest.raises(LockedError), locked(tmp_path / "out"):
        pass
    summary = watching.join()
    assert summary.exit_code == 0
    assert not summary.records


def interrupt_when(there: Callable[[], object]) -> None:
    """Send this process a stop as a service manager does, once."""

    def wait() -> None:
        ends = time.monotonic() + PATIENCE_S
        while not there() and time.monotonic() < ends:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait).start()


def test_a_stop_between_batches_is_the_end_that_was_asked_for(
    tmp_path: Path, archive: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    shutil.copytree(slides, archive, dirs_exist_ok=True)
    config = configure(scheduler, "inputs.settle_s=0")
    ended: list[Event] = []
    interrupt_when(lambda: len([event for event in ended if event.record]) == 2)
    out = tmp_path / "out"
    summary = watch_archive([archive], out, config, Rhythm(0.1), on_event=ended.append)
    assert summary.exit_code == 0
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    assert len(scored_rows(out)) == 2


@pytest.mark.slow
def test_a_stop_in_the_middle_of_a_slide_can_be_resumed(
    tmp_path: Path, archive: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    shutil.copytree(slides, archive, dirs_exist_ok=True)
    config = configure(scheduler, "inputs.settle_s=0")
    told: list[Event] = []
    interrupt_when(lambda: any(event.kind == "region_done" for event in told))
    out = tmp_path / "out"
    with pytest.raises(InterruptedRunError):
        watch_archive([archive], out, config, Rhythm(0.1), on_event=told.append)
    summary = watch_archive([archive], out, config, Rhythm(0.1, 0.5))
    assert summary.exit_code == 0
    assert len(scored_rows(out)) == 2


def test_every_and_idle_exit_are_times_and_belong_to_a_watch(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, ["run", str(tmp_path), "--out", "out", *words])
        assert result.exit_code == 2
        return " ".join(result.stderr.split())

    assert "belong to --watch" in run("--every", "5m")
    assert "write 60s, 5m, 1.5h or 1d" in run("--watch", "--every", "often")
    assert "more than 0" in run("--watch", "--every", "0")
    with pytest.raises(ConfigError, match="more than 0"):
        Rhythm(every_s=0)


def test_the_command_watches_and_ends_when_idle(
    tmp_path: Path, archive: Path, slides: Path, tiny_model: Path, scheduler: str
) -> None:
    shutil.copy(slides / "second.tif", archive / "second.tif")
    pairs = ("prediction.tile_core_px=128", "score.min_cells=10", "inputs.settle_s=0", scheduler)
    settings = [word for pair in pairs for word in ("--set", pair)]
    words = ["run", str(archive), "--out", str(tmp_path / "out"), "--model", str(tiny_model)]
    watch = ["--watch", "--every", "0.2s", "--idle-exit", "0.5s"]
    result = CliRunner().invoke(cli, [*words, *settings, *watch])
    assert result.exit_code == 0, result.stderr
    assert "second.tif: ok" in result.stderr
    assert (tmp_path / "out" / "report.html").exists()
    run_record = json.loads(next((tmp_path / "out" / "runs").glob("*.json")).read_text())
    assert run_record["status"] == "finished"
