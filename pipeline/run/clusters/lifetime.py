"""How a worker of an own cluster comes and goes: tasks imported ahead, a short end.

Without it the first region of every worker waits for its imports, and a run that is through waits
most of a second for interpreters that take their modules apart.
"""

import atexit
from importlib import import_module
from multiprocessing.util import Finalize
from threading import Thread
from typing import Any

from pipeline.leaving import leave

TASKS = ("pipeline.run.region", "pipeline.run.finalise")

_closing = False


def dask_setup(_: Any) -> None:
    """Dask calls this as a worker starts; the module is named as a preload."""
    # early: what is registered later runs before it
    atexit.register(_leave)
    # a fork of multiprocessing ends without its handlers
    Finalize(None, atexit._run_exitfuncs, exitpriority=-1)
    Thread(target=_import_tasks, name="ki67-imports", daemon=True).start()


def dask_teardown(_: Any) -> None:
    """Dask calls this as a worker closes in good order."""
    global _closing
    _closing = True


def _import_tasks() -> None:
    for name in TASKS:
        import_module(name)


def _leave() -> None:
    """End the process at once, after all other handlers, if it ends as it should."""
    if _closing:
        leave(0)
