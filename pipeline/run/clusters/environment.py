"""What every worker is started with: its environment, its memory rules, its signals."""

import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

from distributed import Worker, WorkerPlugin

from pipeline.run.forks.environment import WORKER_ENVIRONMENT

CONNECT_S = 30
DASHBOARD_PORT = 8787

# Results are tiny, so spilling could only hide a leak; a pause or a restart shows it.
MEMORY_RULES: dict[str, Any] = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
}
DASK_SETTINGS: dict[str, Any] = {
    **MEMORY_RULES,
    # an event loop that looks at itself fifty times a second takes a few percent of a core
    "distributed.admin.tick.interval": "500ms",
    # and so does one that is asked a hundred times a second what it does
    "distributed.worker.profile.interval": "100ms",
    "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
}


class LeaveSignalsToDriver(WorkerPlugin):
    """Ctrl-C and a service stop reach the whole process group; only the driver answers."""

    name = "leave-signals-to-driver"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 (the plugin's interface)
        """Ignore both signals in the worker's process."""
        with contextlib.suppress(ValueError):  # not in a process's main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def job_environment() -> dict[str, str]:
    """Environment of a worker that another machine starts: nothing of ours reaches it otherwise."""
    rules = {
        f"DASK_{name.upper().replace('.', '__')}": str(rule) for name, rule in MEMORY_RULES.items()
    }
    return WORKER_ENVIRONMENT | rules


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence dask's own log: lost workers and schedulers are the driver's to tell, in a line."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def dashboard_address() -> str:
    """Where the live page of an own cluster listens: on loopback, at dask's port if it is free."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", DASHBOARD_PORT))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{DASHBOARD_PORT}"
