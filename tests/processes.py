"""Processes that tests start: none outlives its test, whatever became of it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 600.0
"""Far above what anything takes here, beside other work on the machine too."""

_started: list[subprocess.Popen[str]] = []


def start(words: Sequence[str | Path], **options: Any) -> subprocess.Popen[str]:
    """Start a command as the leader of a process group, which ends with the test at the latest."""
    process = subprocess.Popen(words, text=True, start_new_session=True, **options)
    _started.append(process)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a process: its exit code, and what it said where that is kept."""
    said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, "".join(text for text in said if text)


def await_true(
    asked: Callable[[], object], *, of: subprocess.Popen[str] | None = None, every_s: float = 0.05
) -> None:
    """Wait until a call gives something true; the process it is asked of must live until then."""
    ends = time.monotonic() + PATIENCE_S
    while not asked():
        assert of is None or of.poll() is None, ended(of)
        assert time.monotonic() < ends, f"not in {PATIENCE_S:g} s"
        time.sleep(every_s)


def end_all() -> None:
    """Kill what is still there, with all of its group; a test that failed left it."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
