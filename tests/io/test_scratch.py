"""Copies of remote slides: one a host, within a cap, private, gone when nobody holds them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import InputSettings
from pipeline.errors import ConfigError, SlideChangedError, UnreachableSlideError
from pipeline.io import objects, scratch
from pipeline.io.remote_slides import look_up
from pipeline.io.scratch import room_is_wanted, scratch_folder, stage, sweep
from tests.io.remote_servers import WebServer, web_server
from tests.processes import PATIENCE_S, start

HOLDER = """
import sys, time
from pipeline.config import InputSettings
from pipeline.io.remote_slides import look_up
from pipeline.io.scratch import stage
copy = stage(look_up(sys.argv[1]), InputSettings(scratch=sys.argv[2]))
print(copy.path, flush=True)
sys.stdin.readline()
copy.release()
"""


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        server.objects |= {"a.svs": b"a" * 1000, "b.svs": b"b" * 3000}
        yield server


@pytest.fixture
def settings(tmp_path: Path) -> InputSettings:
    return InputSettings(scratch=str(tmp_path / "scratch"))


def files_in(settings: InputSettings) -> list[str]:
    folder = scratch_folder(settings)
    return sorted(path.name for path in folder.rglob("*.svs"))


def holder(url: str, settings: InputSettings) -> subprocess.Popen[str]:
    """Another process that has a copy in hand."""
    command = [sys.executable, "-c", HOLDER, url, str(settings.scratch)]
    process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip().endswith(".svs")
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("done\n", timeout=PATIENCE_S)
    assert process.returncode == 0


def test_processes_of_one_host_share_a_copy_and_the_last_one_removes_it(
    web: WebServer, settings: InputSettings
) -> None:
    mine = stage(look_up(web.url("a.svs")), settings)
    requests = web.sent_bytes
    other = holder(web.url("a.svs"), settings)
    assert web.sent_bytes - requests < 100  # its state, not its content
    assert mine.path.read_bytes() == b"a" * 1000
    mine.release()
    assert files_in(settings) == ["a.svs"]
    end(other)
    assert files_in(settings) == []


def test_the_copy_of_a_killed_process_is_swept(web: WebServer, settings: InputSettings) -> None:
    other = holder(web.url("a.svs"), settings)
    sweep(settings)
    assert files_in(settings) == ["a.svs"]
    other.send_signal(signal.SIGKILL)
    other.communicate(timeout=PATIENCE_S)
    sweep(settings)
    assert files_in(settings) == []
    assert not list(scratch_folder(settings).glob("*.lock"))


def test_a_half_made_copy_of_a_killed_process_is_made_again(
    web: WebServer, settings: InputSettings
) -> None:
    slide = look_up(web.url("a.svs"))
    left = scratch_folder(settings) / slide.version[:24]
    left.mkdir()
    (left / "a.svs").write_bytes(b"hal")
    left.with_suffix(".lock").write_text("1000")
    copy = stage(slide, settings)
    assert copy.path.read_bytes() == b"a" * 1000
    copy.release()


def test_copies_are_private(web: WebServer, settings: InputSettings) -> None:
    copy = stage(look_up(web.url("a.svs")), settings)
    top = scratch_folder(settings)
    assert top.stat().st_mode & 0o777 == 0o700
    assert copy.path.parent.stat().st_mode & 0o777 == 0o700
    copy.release()


@pytest.mark.parametrize("kind", ["open", "link"])
def test_a_folder_that_others_can_write_is_refused(
    tmp_path: Path, settings: InputSettings, kind: str
) -> None:
    place = tmp_path / "scratch" / f"ki67-scratch-{os.getuid()}"
    place.parent.mkdir()
    if kind == "open":
        place.mkdir()
        place.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"inputs\.scratch"):
        scratch_folder(settings)


def test_a_slide_above_the_cap_is_told_in_one_line(web: WebServer, tmp_path: Path) -> None:
    small = InputSettings(scratch=str(tmp_path), scratch_gb=2e-6)
    with pytest.raises(UnreachableSlideError, match=r"raise it, or read ranges") as caught:
        stage(look_up(web.url("b.svs", "?signature=0ddba11")), small)
    assert "0ddba11" not in str(caught.value)
    copy = stage(look_up(web.url("a.svs")), small)
    copy.release()


def test_room_is_waited_for_until_another_slide_is_through(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_POLL_S", 0.02)
    cap = InputSettings(scratch=str(tmp_path), scratch_gb=3.5e-6)
    first = stage(look_up(web.url("b.svs")), cap)
    asked: list[bool] = []

    def give_up() -> None:
        asked.append(room_is_wanted(cap))
        if len(asked) == 3:
            first.release()

    second = stage(look_up(web.url("a.svs")), cap, give_up)
    assert asked == [True] * 3
    assert files_in(cap) == ["a.svs"]
    second.release()


def test_no_room_is_told_after_the_wait(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_POLL_S", 0.02)
    monkeypatch.setattr(scratch, "WAIT_S", 0.1)
    cap = InputSettings(scratch=str(tmp_path), scratch_gb=3.5e-6)
    first = stage(look_up(web.url("b.svs")), cap)
    with pytest.raises(UnreachableSlideError, match="no room"):
        stage(look_up(web.url("a.svs")), cap)
    first.release()
    assert files_in(cap) == []


def test_a_full_disk_is_told_before_the_copy(
    web: WebServer, settings: InputSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "SPARE_BYTES", 1 << 62)
    with pytest.raises(UnreachableSlideError, match="free space"):
        stage(look_up(web.url("a.svs")), settings)
    assert files_in(settings) == []


def test_an_object_that_is_replaced_while_it_is_copied_is_not_read(
    web: WebServer, settings: InputSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "CHUNK_BYTES", 400)
    slide = look_up(web.url("a.svs"))
    web.objects["a.svs"] = b"z" * 1000
    with pytest.raises(SlideChangedError, match="while it was copied"):
        stage(slide, settings)
    assert files_in(settings) == []


def test_a_server_that_goes_away_leaves_no_copy(
    web: WebServer, settings: InputSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAUSES_S", (0.01,))
    slide = look_up(web.url("a.svs"))
    web.stop()
    begun = time.monotonic()
    with pytest.raises(UnreachableSlideError, match="cannot be reached"):
        stage(slide, settings)
    assert time.monotonic() - begun < 10
    assert files_in(settings) == []
