"""What the server of all workers does before it forks them: deaf to signals, tasks imported."""

import gc
import signal
from contextlib import suppress
from importlib import import_module

MODULES = (
    "distributed.nanny",
    "pipeline.run.clusters.lifetime",
    "pipeline.run.worker",
    "pipeline.run.prepare",
    "pipeline.run.region",
    "pipeline.run.finalise",
)


def _import_all() -> None:
    # a service stop and Ctrl-C reach the whole group: workers go on until the driver ends them
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)
    gc.disable()
    for name in MODULES:
        with suppress(Exception):  # a broken package is told of by the worker that needs it
            import_module(name)
    # what is imported stays: no fork looks through it again, and its pages stay shared
    gc.freeze()
    gc.enable()


_import_all()
