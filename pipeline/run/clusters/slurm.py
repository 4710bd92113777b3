"""Workers as SLURM jobs: the scheduler lives with the driver, jobs that end are asked for again."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.clusters.environment import (
    CONNECT_S,
    DASK_SETTINGS,
    dashboard_address,
    job_environment,
)
from pipeline.run.clusters.extras import library
from pipeline.run.clusters.pool import CPU, GPU
from pipeline.run.clusters.tls import security

LEAVE_SHARE = 0.1
"""Part of the walltime in which workers leave one after another, before SLURM would kill them."""

LEAVE_LEAST_S = 120
ASK_AGAIN_S = 60.0


@contextlib.contextmanager
def slurm_client(settings: ClusterSettings, *, device: str) -> Iterator[Client]:
    """Yield a client of workers that are asked for as jobs; they are cancelled with the block.

    Raises
    ------
    ConfigError
        dask-jobqueue is missing, there is no ``sbatch``, or a setting is refused by it.
    """
    keys = _keys(settings)
    dask_settings = DASK_SETTINGS | {
        "distributed.scheduler.allowed-failures": settings.allowed_failures
    }
    with (
        dask.config.set(dask_settings),
        slurm_cluster(settings, keys, device=device) as cluster,
        _keys_removed(cluster),
    ):
        jobs = ask_for_jobs(cluster, settings, device=device)
        with (
            _asking_again(cluster, jobs),
            Client(cluster, timeout=CONNECT_S, set_as_default=False) as client,
        ):
            yield client


def slurm_cluster(settings: ClusterSettings, keys: Security | None, *, device: str) -> Any:
    """Return a ``SLURMCluster`` that has asked for no job yet.

    Raises
    ------
    ConfigError
        dask-jobqueue is missing, or refuses a setting.
    """
    made = library("dask_jobqueue", "slurm").SLURMCluster
    slurm = settings.slurm
    scheduler: dict[str, Any] = {
        "dashboard": settings.dashboard,
        "dashboard_address": dashboard_address(),
    }
    if slurm.interface is not None:
        scheduler["interface"] = slurm.interface
    shared = str(Path(slurm.shared).expanduser() if slurm.shared else Path.home())
    keywords = {
        "security": keys,
        "shared_temp_directory": shared,
        "scheduler_options": scheduler,
        "silence_logs": logging.CRITICAL,
        **job_options(settings, device=device),
    }
    try:
        return made(**(keywords | slurm.options))
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(f"cluster.slurm: {' '.join(str(error).split())}") from error


def job_options(settings: ClusterSettings, *, device: str) -> dict[str, Any]:
    """Keywords of one job: a worker of one thread that leaves in good order before its walltime."""
    slurm = settings.slurm
    stagger_s = max(LEAVE_LEAST_S, round(LEAVE_SHARE * slurm.walltime_s / 2))
    # dask leaves at lifetime plus or minus the stagger, and needs a while to hand over
    lifetime_s = slurm.walltime_s - 2 * stagger_s
    arguments = [
        *("--lifetime", f"{lifetime_s}s", "--lifetime-stagger", f"{stagger_s}s"),
        "--no-dashboard",
        *(word for name in settings.preload for word in ("--preload", name)),
    ]
    directives = list(slurm.directives)
    if device == "cuda":
        arguments += ["--resources", f"{GPU}=1"]
        if not any("gpu" in line or "gres" in line for line in directives):
            directives.append("--gres=gpu:1")
    exports = [f"export {name}={value}" for name, value in sorted(job_environment().items())]
    options: dict[str, Any] = {
        "job_name": "ki67",
        "queue": slurm.queue,
        "account": slurm.account,
        "cores": 1,
        "job_cpu": slurm.cores,
        "processes": 1,
        "memory": slurm.memory,
        "walltime": slurm.walltime,
        "interface": slurm.interface,
        "python": slurm.python,
        "log_directory": slurm.logs,
        "worker_extra_args": arguments,
        "job_extra_directives": directives,
        "job_script_prologue": [*exports, *slurm.prologue],
    }
    return {name: value for name, value in options.items() if value is not None}


def plain_job_options(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of the job without a device, which plans and finalises in a pool of devices."""
    declared = {f"{GPU}=1": f"{CPU}=1"}
    directives = options["job_extra_directives"]
    return options | {
        "worker_extra_args": [declared.get(word, word) for word in options["worker_extra_args"]],
        "job_extra_directives": [
            line for line in directives if "gpu" not in line and "gres" not in line
        ],
    }


def ask_for_jobs(cluster: Any, settings: ClusterSettings, *, device: str) -> int:
    """Ask SLURM for the workers, and in a pool of devices for one without; return how many."""
    jobs = settings.workers or 1
    if device == "cuda":
        plain = cluster.new_spec["options"]
        cluster.worker_spec["cpu"] = cluster.new_spec | {"options": plain_job_options(plain)}
        jobs += 1
    cluster.scale(jobs=jobs)
    return jobs


def _keys(settings: ClusterSettings) -> Security:
    """The keys of the settings, else keys made for this run: the jobs reach us over the network."""
    keys = security(settings)
    if keys is not None:
        return keys
    try:
        made: Security = Security.temporary()
    except ImportError as error:
        raise ConfigError(
            "kind=slurm: no library that makes certificates; pip install 'ki67-pipeline[slurm]' "
            "or give cluster.tls_ca, tls_cert and tls_key"
        ) from error
    return made


@contextlib.contextmanager
def _keys_removed(cluster: Any) -> Iterator[None]:
    """Remove the key files made for this run; dask-jobqueue leaves that to garbage collection."""
    try:
        yield
    finally:
        remove_keys(cluster)


def remove_keys(cluster: Any) -> None:
    """Remove the key files that the cluster wrote for its jobs."""
    for part in ("ca_file", "cert", "key"):
        file = getattr(cluster, f"_job_{part}", None)
        if file is not None:
            file.close()  # a temporary file: closing deletes it


@contextlib.contextmanager
def _asking_again(cluster: Any, jobs: int) -> Iterator[None]:
    """Ask from time to time for the jobs that have ended since; dask forgets them."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(ASK_AGAIN_S):
            cluster.scale(jobs=jobs)

    asking = threading.Thread(target=ask, name="ask-for-jobs", daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()
