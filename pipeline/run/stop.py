"""Stopping on request: the first signal ends a run in good order, the second at once."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from pipeline.run.events import EXIT_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)


_ON_REQUEST = "stopped on request"


class StopRequest:
    """Whether the run was asked to stop, and why."""

    def __init__(self) -> None:
        self.requested = False
        self.reason = _ON_REQUEST

    @property
    def by_user(self) -> bool:
        """Whether somebody wanted it, and it is not that the run cannot go on."""
        return self.requested and self.reason == _ON_REQUEST

    def ask(self, reason: str = _ON_REQUEST) -> None:
        """Stop as soon as the tasks under way have ended."""
        if not self.requested:
            self.reason, self.requested = reason, True

    @property
    def words(self) -> str:
        """Why the run ends, and what to do."""
        return f"{self.reason}; run the same command to go on"

    def wait(self, seconds: float) -> None:
        """Pause, but not longer than until the request."""
        ends = time.monotonic() + seconds
        while not self.requested and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Answer SIGINT and SIGTERM while the body runs; elsewhere than in the main thread, nothing."""
    stop = StopRequest()

    def answer(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a handler's arguments)
        if stop.requested:
            # no result is lost: each is in its file, whole, or not there
            os._exit(EXIT_INTERRUPTED)
        stop.ask()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, answer) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
