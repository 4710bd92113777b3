"""Where tasks run: worker processes on this machine, or the scheduler the user names."""

import contextlib
import json
import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin
from distributed.system import MEMORY_LIMIT

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError

CONNECT_S = 30
DASHBOARD_PORT = 8787
WORKER_BYTES = 3 * 2**29
"""Memory a worker needs for torch, one region of pixels and its heatmap: 1.5 GiB."""

CUDA_WORKERS = 2
"""Workers that share a device by default: one reads while the other predicts."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# Results are tiny, so spilling could only hide a leak; a pause or a restart shows it.
_DASK_SETTINGS: dict[str, Any] = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
}
# Read once when a worker process starts; torch's own threads are set by the predictor.
_WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TIFFSLIDE_NUM_DECODE_THREADS": "1",
    # a tile's buffers are kept for the next tile: handing them back each time (dask's own 64 KiB)
    # took 34 CPU seconds for a small slide, this took 29
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}


class _LeaveSignalsToDriver(WorkerPlugin):
    """Ctrl-C and a service stop reach the whole process group; only the driver answers."""

    name = "leave-signals-to-driver"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 (the plugin's interface)
        with contextlib.suppress(ValueError):  # not in a process's main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextlib.contextmanager
def connect(settings: ClusterSettings, *, device: str = "cpu") -> Iterator[Client]:
    """Yield a client of the cluster the settings name; an own cluster is closed afterwards.

    Parameters
    ----------
    device
        What the workers of an own cluster predict on.

    Raises
    ------
    ConfigError
        The scheduler does not answer, or is reached over a network without TLS.
    """
    if settings.scheduler is None:
        chosen = _local(settings, local_workers(settings, device=device))
    else:
        chosen = _remote(settings.scheduler)
    with _quiet(), chosen as client:
        yield client


def worker_count(client: Client) -> int:
    """Workers that are there now."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def local_workers(settings: ClusterSettings, *, device: str = "cpu") -> int:
    """Worker processes of an own cluster: as many as cores, memory and device carry."""
    if settings.workers is not None:
        return settings.workers
    most = len(os.sched_getaffinity(0)) // settings.threads
    if device != "cpu":
        most = min(most, CUDA_WORKERS)
    return max(1, min(most, int(MEMORY_LIMIT // WORKER_BYTES)))


def scheduler_address(scheduler: str) -> str:
    """Return the address in ``scheduler``, an address itself or a scheduler file.

    Raises
    ------
    ConfigError
        The file has no address, or a network would be crossed without TLS: whoever reaches a
        scheduler without TLS can run code on its workers.
    """
    address = scheduler
    if "://" not in scheduler and Path(scheduler).is_file():
        try:
            address = str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"cluster.scheduler={scheduler}: no scheduler file; dask writes one"
            ) from error
    if "://" not in address:
        address = f"tcp://{address}"
    parts = urlsplit(address)
    if parts.scheme != "tls" and parts.hostname not in LOOPBACK:
        raise ConfigError(
            f"cluster.scheduler={address}: not on this machine and without TLS; "
            "use a tls:// address with dask's distributed.comm.tls settings"
        )
    return address


@contextlib.contextmanager
def _remote(scheduler: str) -> Iterator[Client]:
    address = scheduler_address(scheduler)
    with dask.config.set(_DASK_SETTINGS):
        try:
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise ConfigError(
                f"cluster.scheduler={address}: no answer in {CONNECT_S} s; start the scheduler "
                "or leave the setting out to run on this machine"
            ) from error
        with client:
            yield client


@contextlib.contextmanager
def _local(settings: ClusterSettings, workers: int) -> Iterator[Client]:
    dask_settings = _DASK_SETTINGS | {
        "distributed.scheduler.allowed-failures": settings.allowed_failures,
        "distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT,
    }
    with (
        dask.config.set(dask_settings),
        _environment_kept(),
        _started(settings, workers) as cluster,
        Client(cluster, timeout=CONNECT_S, set_as_default=False) as client,
    ):
        yield client


def _started(settings: ClusterSettings, workers: int) -> LocalCluster:
    with warnings.catch_warnings():
        # another run may take the dashboard's port first; this one prints where its own is
        warnings.filterwarnings("ignore", message="Port \\d+ is already in use")
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            memory_limit=int(MEMORY_LIMIT // workers),
            dashboard_address=_dashboard_address(),
            scheduler_kwargs={"dashboard": settings.dashboard},
            silence_logs=logging.CRITICAL,
            plugins=(_LeaveSignalsToDriver(),),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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


def _dashboard_address() -> str:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", DASHBOARD_PORT))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{DASHBOARD_PORT}"


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what dask's nannies write into this process's environment for their children."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
