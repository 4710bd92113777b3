"""One run at a time holds an output folder, and a dead one never blocks the next."""

import errno
import fcntl
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest

from pipeline.errors import LockedError, OutputError
from pipeline.run import lock as lock_module
from pipeline.run.lock import LOCK_NAME, lock_owner, locked
from pipeline.run.lock_owner import RECORD_BYTES, LockOwner, boot_id, process_start

ELSEWHERE = replace(LockOwner.this_process("theirs"), host="elsewhere", boot_id="another")


def hold(out: Path, held: Signal) -> None:
    with locked(out):
        held.set()
        signal.pause()


def sign(out: Path, owner: LockOwner) -> None:
    (out / LOCK_NAME).write_bytes(owner.written())


@pytest.fixture
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "STALE_S", 1.2)
    monkeypatch.setattr(lock_module, "UNSIGNED_S", 0.6)
    monkeypatch.setattr(lock_module, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(lock_module, "_WATCH_S", 0.2)


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, as some on a network are."""

    def refuse(_handle: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[int]:
    """Number of a process that was killed while it held the folder."""
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    owner = context.Process(target=hold, args=(tmp_path, held))
    owner.start()
    assert held.wait(60)
    with pytest.raises(LockedError, match=rf"process {owner.pid} on .* since .*heartbeat \d s ago"):
        locked(tmp_path).__enter__()
    owner.kill()
    owner.join()
    assert owner.pid is not None
    yield owner.pid
    owner.close()


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        locked(tmp_path).__enter__()


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert (tmp_path / LOCK_NAME).exists()


def test_a_killed_run_blocks_nobody(tmp_path: Path, killed: int) -> None:
    owner = lock_owner(tmp_path)
    assert owner is not None
    assert (owner.pid, owner.is_dead) == (killed, True)
    with locked(tmp_path):
        now = lock_owner(tmp_path)
        assert now is not None
        assert now.pid == os.getpid()


def test_a_killed_run_blocks_nobody_where_nothing_can_be_locked(
    tmp_path: Path, killed: int, no_flock: None
) -> None:
    assert killed
    with locked(tmp_path), pytest.raises(LockedError):
        locked(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    mine = LockOwner.this_process("before")
    assert mine.process_start is not None
    later = replace(mine, pid=os.getppid(), process_start=(process_start(os.getppid()) or 0) - 1)
    sign(tmp_path, later)
    with locked(tmp_path):
        pass


def test_a_process_that_lives_is_respected_even_if_its_kernel_lock_is_gone(tmp_path: Path) -> None:
    mine = LockOwner.this_process("theirs")
    parent = replace(mine, pid=os.getppid(), process_start=process_start(os.getppid()))
    sign(tmp_path, parent)
    with pytest.raises(LockedError, match=f"process {os.getppid()}"):
        locked(tmp_path).__enter__()
    assert lock_owner(tmp_path) == parent


def test_a_lock_of_this_host_from_before_a_restart_is_taken_over(tmp_path: Path) -> None:
    sign(tmp_path, replace(LockOwner.this_process("before"), boot_id="before"))
    with locked(tmp_path):
        pass


def test_a_host_name_that_many_machines_have_proves_nothing() -> None:
    assert not replace(ELSEWHERE, host="localhost").is_dead


@pytest.mark.usefixtures("short_watch")
def test_a_run_on_another_host_is_respected_while_its_heartbeat_moves(tmp_path: Path) -> None:
    sign(tmp_path, ELSEWHERE)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.1):
            owner = lock_owner(tmp_path)
            assert owner is not None
            sign(tmp_path, replace(owner, beat=owner.beat + 1))

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(LockedError, match=r"process \d+ on elsewhere.*heartbeat is moving"):
            locked(tmp_path).__enter__()
    finally:
        ended.set()
        heart.join()
    assert (tmp_path / LOCK_NAME).exists()


@pytest.mark.usefixtures("short_watch")
@pytest.mark.parametrize("flock", [True, False])
def test_a_lock_of_another_host_that_nobody_renews_is_taken_over_after_a_watch(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    flock: bool,
) -> None:
    if not flock:
        request.getfixturevalue("no_flock")
    sign(tmp_path, ELSEWHERE)
    # a time far ahead, as another machine's clock may be: it must not count
    os.utime(tmp_path / LOCK_NAME, (4e9, 4e9))
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        assert 1.2 <= time.monotonic() - begun < 20
    assert "watching its heartbeat" in caplog.text


@pytest.mark.usefixtures("short_watch")
@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 7}'])
def test_an_unsigned_lock_is_watched_briefly_and_taken_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK_NAME).write_bytes(content)
    with locked(tmp_path):
        owner = lock_owner(tmp_path)
        assert owner is not None
        assert owner.boot_id == boot_id()


@pytest.mark.usefixtures("short_watch", "no_flock")
def test_of_two_that_take_over_a_stale_lock_without_flock_one_holds_it(tmp_path: Path) -> None:
    sign(tmp_path, ELSEWHERE)
    held: list[str] = []
    together, ended = threading.Barrier(2), threading.Event()

    def take() -> None:
        together.wait()
        try:
            with locked(tmp_path):
                held.append("held")
                ended.wait(20)
        except LockedError:
            held.append("refused")
            ended.set()

    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(held) == ["held", "refused"]


@pytest.mark.usefixtures("short_watch")
def test_the_heartbeat_moves_and_a_reader_never_meets_half_of_it(tmp_path: Path) -> None:
    beats = set[int]()
    with locked(tmp_path):
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends and len(beats) < 4:
            content = (tmp_path / LOCK_NAME).read_bytes()
            assert len(content) == RECORD_BYTES
            owner = LockOwner.read(content)
            assert owner is not None
            beats.add(owner.beat)
    assert len(beats) >= 3


@pytest.mark.usefixtures("short_watch")
def test_a_clock_that_is_set_back_ages_no_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path):
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with pytest.raises(LockedError, match="last heartbeat 0 s ago"):
            locked(tmp_path).__enter__()


@pytest.mark.usefixtures("short_watch")
def test_a_run_whose_lock_was_taken_is_told_and_leaves_the_new_one(tmp_path: Path) -> None:
    told: list[str] = []
    with locked(tmp_path) as lock:
        lock.when_taken(told.append)
        sign(tmp_path, ELSEWHERE)
        ends = time.monotonic() + 10
        while not told and time.monotonic() < ends:
            time.sleep(0.02)
        assert lock.taken
    assert "taken over" in told[0]
    assert lock_owner(tmp_path) == ELSEWHERE


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        locked(tmp_path / "missing").__enter__()
