"""A disk that fills up, turns read-only or vanishes stops the run; no slide is blamed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.errors import OutputError
from pipeline.run.archive import BatchStoppedError, run_archive
from pipeline.run.events import Event
from pipeline.run.plan import read_plan, work_folder
from pipeline.run.space import slide_bytes
from tests.processes import await_true
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes

DISK_MB = 96


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up every byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"\1" * 4096)
    assert shutil.disk_usage(folder).free == 0
    return filler


def on_region(done: int, act: Callable[[], object]) -> Callable[[Event], None]:
    """Act once, when so many regions of a slide are done."""
    acted: list[object] = []

    def answer(event: Event) -> None:
        if event.kind == "region_done" and event.done == done and not acted:
            acted.append(act())

    return answer


def on_finalising(act: Callable[[], object]) -> Callable[[Event], None]:
    acted: list[object] = []

    def answer(event: Event) -> None:
        if event.kind == "slide_finalising" and not acted:
            acted.append(act())

    return answer


@pytest.mark.parametrize("stage", ["region", "finalise"])
def test_a_full_disk_stops_the_run_and_after_space_is_freed_it_goes_on(
    stage: str,
    disk: Path,
    slides: Path,
    configure: Configure,
    scheduler: str,
    reference: Path,
) -> None:
    out = disk / "out"
    filler = disk / "filler"
    when = (
        on_region(2, lambda: fill(disk)) if stage == "region" else on_finalising(lambda: fill(disk))
    )
    with pytest.raises(BatchStoppedError, match=r"(no space left|MB free).*then run again"):
        run_archive([slides], out, configure(scheduler), on_event=when)
    assert not list(out.glob("slides/*/score.json"))
    assert not list(out.glob("slides/*/done.json"))
    filler.unlink()
    assert run_archive([slides], out, configure(scheduler)).exit_code == 0
    assert result_bytes(out) == result_bytes(reference)


def test_a_disk_that_turns_read_only_stops_the_run_and_it_goes_on_later(
    disk: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    # the lock file is open for writing, so the disk itself cannot be: a second view of it can
    def freeze() -> None:
        subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
        # refused as long as a worker has a file of it open for writing
        words = ["mount", "-o", "remount,ro,bind", str(disk)]
        await_true(lambda: subprocess.run(words, capture_output=True, check=False).returncode == 0)

    with pytest.raises(BatchStoppedError, match=r"[Rr]ead-only"):
        run_archive([slides], disk / "out", configure(scheduler), on_event=on_region(2, freeze))
    subprocess.run(["umount", "-l", str(disk)], check=True)
    assert run_archive([slides], disk / "out", configure(scheduler)).exit_code == 0
    assert result_bytes(disk / "out") == result_bytes(reference)


def test_an_output_folder_that_vanishes_stops_the_run_and_is_not_made_anew(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    out, away = tmp_path / "out", tmp_path / "away"

    with pytest.raises(BatchStoppedError, match="output folder is gone"):
        run_archive(
            [slides], out, configure(scheduler), on_event=on_region(2, lambda: out.rename(away))
        )
    assert not (out / "slides.csv").exists()
    assert not list(out.glob("slides/*/score.json"))


def test_a_run_that_will_not_fit_is_refused_with_path_and_bytes(
    disk: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    with (disk / "filler").open("wb") as stream:
        stream.write(b"\1" * (DISK_MB - 8) * 2**20)
    with pytest.raises(OutputError, match=r"out: 8 MB free \([\d,]+ bytes\), a run may need 16 MB"):
        run_archive([slides], disk / "out", configure(scheduler))
    os.truncate(disk / "filler", (DISK_MB - 20) * 2**20)
    with pytest.raises(BatchStoppedError, match=r"\.tif and slides under way may need"):
        run_archive([slides], disk / "out", configure(scheduler))
    assert not list(disk.glob("out/slides/*/score.json"))


def test_the_estimate_covers_what_a_slide_really_takes(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    plans: list[int] = []
    work: list[int] = []

    def look(event: Event) -> None:
        if event.kind == "slide_finalising":
            folder = tmp_path / "slides" / event.slide_id
            plan = read_plan(work_folder(folder))
            plans.append(slide_bytes(plan, downsample=configure().heatmap.downsample))
            work.append(taken(folder))

    run_archive([slides], tmp_path, configure(scheduler), on_event=look)
    folders = sorted((reference / "slides").iterdir())
    for estimate, before, folder in zip(plans, work, folders, strict=True):
        real = before + taken(folder)
        assert real < estimate < 60 * real


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
