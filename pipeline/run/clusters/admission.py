"""A worker's own look before its first task of a run: workers that join late are checked too."""

import functools
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from distributed import get_worker

from pipeline.errors import MissingDeviceError, ModelError
from pipeline.model.files import CARD_NAME
from pipeline.model.zoo import resolve_model
from pipeline.run.clusters.versions import Versions, decisive_versions, differences
from pipeline.run.job import SlideJob

_LOOKS = 5
_BETWEEN_LOOKS_S = 1.0
"""A network file system may show a new file some seconds late."""


class ForeignWorkerError(Exception):
    """A worker cannot do this run's work; another one can."""

    def __init__(self, reason: str, address: str) -> None:
        super().__init__(reason, address)
        self.reason, self.address = reason, address

    def __str__(self) -> str:
        return self.reason


def admitted(job: SlideJob) -> SlideJob:
    """Return the job as this worker can do it: with its own copy of a shipped model if need be.

    Raises
    ------
    ForeignWorkerError
        Other versions, more tasks at once, the output folder or the model is not visible here.
    """
    if not job.versions:  # called without a driver
        return job
    folder = _admitted(
        job.versions, job.out, job.run_id, job.model_folder, job.config.prediction.model
    )
    return job if folder == job.model_folder else replace(job, model_folder=folder)


@contextmanager
def device_here() -> Iterator[None]:
    """Refuse this worker where the body finds that the device it needs is not here.

    Raises
    ------
    ForeignWorkerError
        It names what is missing.
    """
    try:
        yield
    except MissingDeviceError as error:
        name, address, _ = _whoami()
        raise ForeignWorkerError(f"{name}: {error}", address) from error


@functools.lru_cache(maxsize=4)
def _admitted(versions: Versions, out: str, run_id: str, folder: str, model: str) -> str:
    """Look once a process and run; return the model's folder here."""
    name, address, threads = _whoami()
    if other := differences(versions, decisive_versions()):
        raise ForeignWorkerError(f"{name} has {other}; install the same versions there", address)
    if threads > 1:
        raise ForeignWorkerError(
            f"{name} runs {threads} tasks at once; start it with --nthreads 1", address
        )
    if not _visible(Path(out) / "runs" / f"{run_id}.json"):
        raise ForeignWorkerError(
            f"{name} does not see the output folder {out}; mount it there at the same path", address
        )
    return _model_folder(folder, model, name, address)


def _model_folder(folder: str, model: str, name: str, address: str) -> str:
    """Where the model lies on this machine; the predictor compares its weights' sha256."""
    if (Path(folder) / CARD_NAME).is_file():
        return folder
    try:
        return str(resolve_model(model))
    except ModelError as error:
        raise ForeignWorkerError(
            f"{name} does not see the model {folder}; put it on a path that every worker sees",
            address,
        ) from error


def _visible(path: Path) -> bool:
    for look in range(_LOOKS):
        if path.exists():
            return True
        if look < _LOOKS - 1:
            time.sleep(_BETWEEN_LOOKS_S)
    return False


def _whoami() -> tuple[str, str, int]:
    """Name for the user, address, tasks at once."""
    host = socket.gethostname()
    try:
        worker = get_worker()
    except ValueError:
        return f"process {os.getpid()} on {host}", "", 1
    return f"worker {worker.address} on {host}", worker.address, worker.state.nthreads
