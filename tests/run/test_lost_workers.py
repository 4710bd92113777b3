"""A pool keeps its size: a worker that dies is replaced, however long its replacement takes."""

import os
import signal
import time

import dask
from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.run.clusters import connect


def test_a_worker_is_not_given_up_while_its_replacement_starts() -> None:
    # dask's patience, here far shorter than a process takes to start
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        connect(ClusterSettings(workers=1, dashboard=False)) as client,
    ):
        (before,) = processes(client)
        os.kill(before, signal.SIGKILL)
        ends = time.monotonic() + 60
        after: set[int] = set()
        while not after and time.monotonic() < ends:
            time.sleep(0.1)
            after = processes(client) - {before}
        assert len(after) == 1


def processes(client: Client) -> set[int]:
    """Process ids of the workers that are there."""
    return set(client.run(os.getpid).values())
