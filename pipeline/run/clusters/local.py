"""Worker processes of this machine: as many as carry their memory, or one for each device."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster
from distributed.system import MEMORY_LIMIT

from pipeline.config import ClusterSettings
from pipeline.errors import InterruptedRunError
from pipeline.run.clusters import clock, lifetime
from pipeline.run.clusters.devices import find_devices
from pipeline.run.clusters.environment import (
    CONNECT_S,
    DASK_SETTINGS,
    LeaveSignalsToDriver,
    dashboard_address,
)
from pipeline.run.clusters.pages import open_pages
from pipeline.run.clusters.pool import CPU, GPU
from pipeline.run.forks import server
from pipeline.run.forks.environment import WORKER_ENVIRONMENT, environment_kept
from pipeline.run.travelling import first_line

LOG = logging.getLogger(__name__)

WORKER_BYTES = 2**31
"""Memory a worker needs for torch, one region of pixels and its heatmap: 2 GiB."""

LOOPBACK_HOST = "127.0.0.1"

STARTS = 3
"""Times that a pool is started: dask gives one up as soon as one of its processes is killed."""

NOT_STARTED = (
    "no worker process starts on this machine; see `ki67 doctor` for memory, disk and packages, "
    "then run again"
)


@contextlib.contextmanager
def local_client(settings: ClusterSettings, *, device: str) -> Iterator[Client]:
    """Yield a client of worker processes on this machine; they end with the block.

    Raises
    ------
    ConfigError
        There is no such device.
    InterruptedRunError
        A worker process does not start: no memory, no room for its files, a broken package.
    """
    dask_settings = DASK_SETTINGS | {
        "distributed.scheduler.allowed-failures": settings.allowed_failures,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.worker.preload": [clock.__name__, lifetime.__name__, *settings.preload],
        # after 15 s dask gives up a worker whose replacement is still starting: on a busy machine
        # a pool lost its workers one by one
        "distributed.deploy.lost-worker-timeout": "1 day",
    }
    if not settings.dashboard:
        dask_settings |= SILENT_PAGES | {"distributed.worker.profile.enabled": False}
    # asked before a worker starts: a device that is missing is a matter of settings
    devices = _devices(settings) if device == "cuda" else []
    if not devices:  # no fork where a process may have touched a device
        dask_settings |= {"distributed.worker.multiprocessing-method": server.METHOD}
    with dask.config.set(dask_settings), environment_kept(), warnings.catch_warnings():
        # another run may take the dashboard's port first; this one prints where its own is
        warnings.filterwarnings("ignore", message="Port \\d+ is already in use")
        cluster = _started(settings, devices)
        with cluster, Client(cluster, timeout=CONNECT_S, set_as_default=False) as client:
            if settings.dashboard:
                open_pages(cluster)
            yield client


SILENT_PAGES: dict[str, Any] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}
"""Dask opens its HTTP ports on loopback either way; without a dashboard there is no page behind."""


def local_workers(settings: ClusterSettings) -> int:
    """Worker processes of a pool without devices: as many as cores and memory carry."""
    if settings.workers is not None:
        return settings.workers
    most = len(os.sched_getaffinity(0)) // settings.threads
    return max(1, min(most, int(MEMORY_LIMIT // WORKER_BYTES)))


def _started(settings: ClusterSettings, devices: list[str], tries: int = STARTS) -> SpecCluster:
    try:
        if devices:
            return _gpu_pool(devices)
        server.start_server()
        return _cpu_pool(settings)
    except (OSError, EOFError, RuntimeError) as error:
        if tries == 1:
            raise InterruptedRunError(f"{NOT_STARTED} ({_root(error)})") from error
        LOG.info("workers did not start (%s); once more", _root(error))
    return _started(settings, devices, tries - 1)


def _root(error: BaseException) -> str:
    """The first of the errors that led to this one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _devices(settings: ClusterSettings) -> list[str]:
    """Names of the devices, each once for every worker that shares it."""
    found = find_devices()[: settings.gpus]
    most = settings.workers or len(found) * settings.workers_per_gpu
    return [found[number % len(found)] for number in range(most)]


def _cpu_pool(settings: ClusterSettings) -> LocalCluster:
    workers = local_workers(settings)
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host=LOOPBACK_HOST,
        memory_limit=int(MEMORY_LIMIT // workers),
        dashboard_address=dashboard_address(),
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL,
        # the server may be older than what the environment says by now
        env=dict(os.environ),
        plugins=(LeaveSignalsToDriver(),),
    )


def _gpu_pool(devices: list[str]) -> SpecCluster:
    """One worker a device that predicts, and one without a device that plans and finalises."""
    options: dict[str, Any] = {
        "host": LOOPBACK_HOST,
        "nthreads": 1,
        "memory_limit": int(MEMORY_LIMIT // (len(devices) + 1)),
        "dashboard_address": None,
        "plugins": (LeaveSignalsToDriver(),),
        "silence_logs": logging.CRITICAL,
    }
    workers = {
        f"gpu-{number}": _pinned(options, device, {GPU: 1}) for number, device in enumerate(devices)
    }
    scheduler = {
        "host": LOOPBACK_HOST,
        "port": 0,
        "dashboard": False,
        "dashboard_address": dashboard_address(),
    }
    return SpecCluster(
        workers=workers | {"cpu": _pinned(options, "", {CPU: 1})},
        scheduler={"cls": Scheduler, "options": scheduler},
        silence_logs=logging.CRITICAL,
    )


def _pinned(options: dict[str, Any], device: str, resources: dict[str, float]) -> dict[str, Any]:
    """Specification of a worker that sees one device; the empty name hides them all."""
    environment = {"CUDA_VISIBLE_DEVICES": device}
    return {"cls": Nanny, "options": options | {"env": environment, "resources": resources}}
