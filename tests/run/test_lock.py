"""One run at a time holds an output folder, and a dead one never blocks the next."""

import json
import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest

from pipeline.errors import LockedError, OutputError
from pipeline.run.lock import LOCK_NAME, locked


def hold(out: Path, held: Signal) -> None:
    with locked(out):
        held.set()
        signal.pause()


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        locked(tmp_path).__enter__()


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK_NAME).exists()
    with locked(tmp_path):
        assert (tmp_path / LOCK_NAME).exists()


def test_a_killed_run_blocks_nobody(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    owner = context.Process(target=hold, args=(tmp_path, held))
    owner.start()
    assert held.wait(60)
    with pytest.raises(LockedError, match=str(owner.pid)):
        locked(tmp_path).__enter__()
    owner.kill()
    owner.join()
    assert (tmp_path / LOCK_NAME).exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()


def test_a_run_on_another_host_is_respected(tmp_path: Path) -> None:
    owner = {"pid": 7, "host": "elsewhere", "boot_id": "another"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner))
    with pytest.raises(LockedError, match=r"process 7 on elsewhere.*delete \.lock"):
        locked(tmp_path).__enter__()
    assert (tmp_path / LOCK_NAME).exists()


def test_a_lock_of_this_host_from_before_a_restart_is_taken_over(tmp_path: Path) -> None:
    owner = {"pid": 7, "host": os.uname().nodename, "boot_id": "before"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner))
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        locked(tmp_path / "missing").__enter__()
