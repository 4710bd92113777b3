"""Dask's messages and heartbeats by a clock that nobody sets.

Tornado times callbacks by the wall clock, and so does dask the moment from which the next messages
may be sent: where it was set back by two hours, they wait for two hours. Workers of ours load this
module before anything is sent; ``dask worker --preload pipeline.run.clusters.clock`` does the same.
"""

import sys
import time
from typing import Any

from distributed import metrics
from tornado.ioloop import IOLoop

_wall_clock = metrics.time
_began = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since the epoch by the clock as it was set when this process began."""
    return _began + time.monotonic()


def keep_steady_time() -> None:
    """Let tornado and all of dask that was imported go by :func:`steady_time`."""
    IOLoop.time = lambda self: steady_time()  # type: ignore[method-assign]  # noqa: ARG005
    for name, module in list(sys.modules.items()):
        if name.startswith("distributed.") and vars(module).get("time") is _wall_clock:
            module.time = steady_time  # type: ignore[attr-defined]


def dask_setup(_: Any) -> None:
    """Dask calls this where the module is named as a preload."""
    keep_steady_time()
