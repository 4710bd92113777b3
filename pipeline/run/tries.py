"""Who was at work when a worker died: a mark for each task under way, and its deadline.

A task writes its mark when it begins to run and removes it at its end. A worker that dies leaves
the marks of what it ran, so the task to blame is known, whatever else waited on that worker. The
deadline lives in the worker's own process, below the interpreter: it ends a worker whose library
call never comes back and holds the interpreter's lock.
"""

import faulthandler
import io
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from distributed import get_worker

from pipeline.errors import DeviceError, DeviceMemoryError, OutputError, PipelineError
from pipeline.io.files import output_errors
from pipeline.run.job import SlideJob
from pipeline.run.memory import give_back
from pipeline.run.plan import utc_now

TRIES_NAME = ".running"
"""Folder of the marks, made by the driver; without it the output folder is gone."""

_TOLD_SHARE = 0.5
"""Of a worker's memory: what a task uses is written down from here on."""

_MEMORY_EVERY_S = 0.2
_IDLE_S = 0.5
"""A worker with nothing to do for so long gives free memory back."""
_HEAD = re.compile(r"^try pid=(\d+) thread=(0x[0-9a-f]+) host=(\S+) started=(\S+)$")
_MEMORY = re.compile(r"^memory (\d+) of (\d+)$")

DEVICE_LOST = "Device lost: "
"""Begins the last line of a worker whose device was lost."""


class TaskLostError(PipelineError):
    """The task was begun before by a worker that died of it; its mark tells more."""


@dataclass(slots=True)
class Try:
    """What a dead worker left of one task."""

    pid: int
    thread: str
    """Which thread ran it, as the interpreter names it in a trace."""
    host: str
    started: str
    memory_bytes: int = 0
    """The most that was seen, 0 where that was little."""
    memory_limit_bytes: int = 0
    trace: list[str] = field(default_factory=list)
    """What the interpreter said as it ended."""


def clear_tries(out: Path) -> None:
    """Forget the marks of workers that died before now; the folder is there afterwards.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    with output_errors(out):
        (out / TRIES_NAME).mkdir(exist_ok=True)
        for path in (out / TRIES_NAME).iterdir():
            path.unlink(missing_ok=True)


def remove_tries(out: Path) -> None:
    """Remove the marks and their folder at the end of a run."""
    try:
        clear_tries(out)
        (out / TRIES_NAME).rmdir()
    except OSError:
        pass  # of a folder that is full, read-only or gone: the next run clears it


def check_there(out: Path) -> None:
    """Refuse to go on in an output folder that vanished: a network drive, or a hand too many.

    Raises
    ------
    OutputError
        The folder of the run's marks is not there.
    """
    if not (out / TRIES_NAME).is_dir():
        raise OutputError(f"{out}: the output folder is gone; bring it back and run again")


@contextmanager
def tried(job: SlideJob, task: str, attempt: int) -> Iterator[None]:
    """Mark a task as begun while the body runs, and end the process at the deadline.

    A worker whose device is lost ends as well, and its mark stays: nothing in the process can use
    the device again, a process that starts in its place may.

    Raises
    ------
    TaskLostError
        It was begun more than ``attempt`` times by workers that died.
    OutputError
        The output folder is gone, full or forbidden.
    """
    path = mark_path(job, task)
    if len(read_tries(job, task)) > attempt:
        raise TaskLostError(f"{job.name}: a worker died in {task}")
    out = Path(job.out)
    with output_errors(out):
        try:
            stream = path.open("ab", buffering=0)
        except FileNotFoundError:
            check_there(out)
            raise
    with stream:
        with output_errors(out):
            stream.write(_head())
        _watch.begin(stream, job.config.cluster.task_timeout_s)
        try:
            yield
        except DeviceError as error:
            if not isinstance(error, DeviceMemoryError):
                _end_worker(stream, error)
            raise
        finally:
            _watch.end(stream)
            path.unlink(missing_ok=True)


def mark_path(job: SlideJob, task: str) -> Path:
    """Where the mark of a task stands."""
    return Path(job.out) / TRIES_NAME / f"{job.slide_id}.{task.replace(' ', '-')}.txt"


def read_tries(job: SlideJob, task: str) -> list[Try]:
    """Every time a worker began the task and did not end it, oldest first."""
    try:
        text = mark_path(job, task).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found: list[Try] = []
    for line in text.splitlines():
        if head := _HEAD.match(line):
            found.append(Try(int(head[1]), head[2], head[3], head[4]))
        elif found and (memory := _MEMORY.match(line)):
            found[-1].memory_bytes = int(memory[1])
            found[-1].memory_limit_bytes = int(memory[2])
        elif found and line.strip():
            found[-1].trace.append(line.rstrip())
    return found


def _end_worker(stream: io.FileIO, error: DeviceError) -> None:
    """End this process at once, if it is a worker: one starts in its place."""
    try:
        get_worker()
    except ValueError:
        return
    with suppress(OSError):  # a full disk: the driver then knows only that it died
        stream.write(f"{DEVICE_LOST}{' '.join(str(error).split())}\n".encode())
    os._exit(1)


class _Watch:
    """What this process runs now: deadline, memory and last words of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[tuple[float, io.FileIO]] = []
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None
        self._limit_bytes = 0

    def begin(self, stream: Any, timeout_s: float) -> None:
        with self._lock:
            self._limit_bytes = _memory_limit()
            self._running.append((time.monotonic() + timeout_s, stream))
            # a crash in a library says where, into the mark
            faulthandler.enable(file=stream, all_threads=False)
            self._arm()
            self._busy.set()
            if self._thread is None and self._limit_bytes:
                self._thread = threading.Thread(target=self._see, name="memory", daemon=True)
                self._thread.start()

    def end(self, stream: Any) -> None:
        with self._lock:
            self._running = [entry for entry in self._running if entry[1] is not stream]
            if self._running:
                faulthandler.enable(file=self._running[-1][1], all_threads=False)
            else:
                self._busy.clear()
                faulthandler.disable()
            self._arm()

    def _arm(self) -> None:
        """Set the one timer of the interpreter to the first deadline."""
        faulthandler.cancel_dump_traceback_later()
        if self._running:
            ends, stream = min(self._running, key=lambda entry: entry[0])
            left_s = max(0.001, ends - time.monotonic())
            faulthandler.dump_traceback_later(left_s, exit=True, file=stream)

    def _see(self) -> None:
        process, told, worked = psutil.Process(), 0.0, False
        while True:
            if not self._busy.wait(_IDLE_S if worked else None):
                give_back()
                worked = False
                continue
            worked = True
            time.sleep(_MEMORY_EVERY_S)
            used = process.memory_info().rss
            if used < self._limit_bytes * _TOLD_SHARE or used < told * 1.05:
                continue
            with self._lock:
                told = used if self._running else 0.0
                for _, stream in self._running:
                    try:
                        stream.write(f"memory {used} of {self._limit_bytes}\n".encode())
                    except OSError:
                        continue  # a full disk ends the task itself


_watch = _Watch()


def _head() -> bytes:
    host = socket.gethostname().replace(" ", "-") or "unknown"
    thread = f"0x{threading.get_ident():016x}"
    return f"try pid={os.getpid()} thread={thread} host={host} started={utc_now()}\n".encode()


def _memory_limit() -> int:
    """Bytes that dask lets this worker have; 0 where nobody says."""
    try:
        return int(get_worker().memory_manager.memory_limit or 0)
    except (ValueError, AttributeError):
        return 0
