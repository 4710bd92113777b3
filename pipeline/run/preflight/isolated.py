"""Calls in child processes of their own: one that crashes, hangs or swells takes nobody along."""

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from pipeline.errors import PipelineError

START_S = 120.0
"""Time a child gets to start."""

LEAVE_S = 5.0
"""Time an idle child gets to end."""
_Call = tuple[Callable[..., Any], tuple[Any, ...]]


class ChildError(PipelineError):
    """The child process of one call crashed, or did not answer in time."""


class _Child:
    """A process that answers one call after the other; another one is started when it is gone."""

    def __init__(self, timeout_s: float, memory_bytes: int | None) -> None:
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._process: Any = None
        self._pipe: Connection | None = None

    def ask(self, call: _Call) -> Any:
        try:
            pipe = self._started()
            pipe.send(call)
            if not pipe.poll(self._timeout_s):
                self._process.kill()
                self.end()
                raise ChildError(f"no answer in {self._timeout_s:.0f} s")
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise ChildError(self._epitaph()) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()  # an idle child ends by itself, and in good order
        if self._process is not None:
            self._process.join(LEAVE_S)
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def _started(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=_answer, args=(theirs, self._memory_bytes), daemon=True
            )
            self._process.start()
            theirs.close()
            if not self._pipe.poll(START_S):
                raise OSError("it did not start")
            self._pipe.recv()
        return self._pipe

    def _epitaph(self) -> str:
        self._process.join(LEAVE_S)
        code = self._process.exitcode
        self.end()
        if code is not None and code < 0:
            return f"the process that read it was killed ({signal.Signals(-code).name})"
        return f"the process that read it ended (code {code})"


def in_children(
    calls: Iterable[_Call], *, workers: int, timeout_s: float, memory_bytes: int | None = None
) -> Iterator[Any]:
    """Yield the answers of calls in their order; one that cannot be had is its exception.

    Parameters
    ----------
    calls
        A function of a module and its arguments, all of which can be pickled.
    timeout_s
        Of each call; a child that takes longer is killed.
    memory_bytes
        Address space of a child; what wants more gets a MemoryError.
    """
    local, children = threading.local(), list[_Child]()

    def ask(call: _Call) -> Any:
        if not hasattr(local, "child"):
            local.child = _Child(timeout_s, memory_bytes)
            children.append(local.child)
        try:
            return local.child.ask(call)
        except Exception as error:  # noqa: BLE001 (the answer, for the caller to judge)
            return error

    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield from pool.map(ask, calls)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.end()


def _answer(pipe: Connection, memory_bytes: int | None) -> None:
    """Run in the child: answer calls until the other side is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    # what a library prints about a slide belongs into no table
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        pipe.send("ready")
        while True:
            function, arguments = pipe.recv()
            try:
                answer = function(*arguments)
            except Exception as error:  # noqa: BLE001 (sent back as the answer)
                answer = error
            pipe.send(answer)
