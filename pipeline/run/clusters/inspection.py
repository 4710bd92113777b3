"""A look at a cluster before work is sent to it: same versions, one thread, same folders."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError, InterruptedRunError
from pipeline.run.clusters.pool import worker_count
from pipeline.run.clusters.versions import (
    Versions,
    all_versions,
    decisive_versions,
    differences,
    other_versions,
)
from pipeline.run.job import SlideJob

ANSWER_S = 60
FOLDERS_LOOKED_AT = 20

_POLL_S = 0.5


def inspect_pool(
    client: Client,
    settings: ClusterSettings,
    jobs: Sequence[SlideJob],
    *,
    stopped: Callable[[], bool],
) -> list[str]:
    """Wait for a worker, and look whether those that are there can do the work.

    Workers that come later look themselves: see :func:`pipeline.run.clusters.admission.admitted`.

    Returns
    -------
    list
        Lines worth telling: versions that differ and change nothing known.

    Raises
    ------
    ConfigError
        A worker has versions that break pickles or can change results, runs several tasks at once,
        or does not see the folders; the line names it.
    InterruptedRunError
        No worker came, or the run was asked to stop.
    """
    if settings.chosen == "local":
        return []  # processes of this installation on this machine
    _await_worker(client, settings.worker_wait_s, stopped)
    notices = _compare_versions(client)
    crowded = [address for address, threads in client.nthreads().items() if threads > 1]
    if crowded:
        raise ConfigError(f"worker {crowded[0]} runs several tasks at once; use --nthreads 1")
    _compare_folders(client, jobs)
    return notices


def seen_folders(out: str, record: str, model: str, slides: Sequence[str]) -> str:
    """Run on a worker: what of the run's folders it does not see or cannot write, in words."""
    folder = Path(out)
    if not (folder / record).exists():
        return f"does not see the output folder {out}; mount it there at the same path"
    probe = folder / f".{secrets.token_hex(8)}.partial"
    try:
        probe.write_text(record, encoding="utf-8")
        kept = probe.read_text(encoding="utf-8") == record
        probe.unlink()
    except OSError as error:
        return f"cannot write the output folder {out} ({error.strerror})"
    if not kept:
        return f"does not read back what it writes into {out}"
    if model and not Path(model).is_dir():
        return f"does not see the model {model}; put it on a path that every worker sees"
    hidden = [slide for slide in slides if not os.access(slide, os.R_OK)]
    return f"does not see the slide {hidden[0]}; mount its folder there" if hidden else ""


def _await_worker(client: Client, wait_s: float, stopped: Callable[[], bool]) -> None:
    ends = time.monotonic() + wait_s
    while not worker_count(client):
        if stopped():
            raise InterruptedRunError("stopped on request; run the same command to go on")
        if time.monotonic() > ends:
            raise InterruptedRunError(
                f"no worker came in {wait_s:.0f} s (cluster.worker_wait_s); start one and run again"
            )
        time.sleep(_POLL_S)


def _compare_versions(client: Client) -> list[str]:
    answers: dict[str, Any] = client.run(all_versions, on_error="return")
    # the scheduler unpickles what is sent, so it needs the same versions
    with contextlib.suppress(OSError):
        answers = {"scheduler": _asked_scheduler(client)} | {
            f"worker {address}": answer for address, answer in answers.items()
        }
    notices: dict[str, str] = {}
    for name, answer in answers.items():
        if isinstance(answer, OSError):
            continue  # it has just gone; another one is looked at by its first task
        if isinstance(answer, Exception):
            raise ConfigError(
                f"{name}: cannot load this ki67-pipeline ({type(answer).__name__}: {answer}); "
                "install the same versions there"
            )
        decisive, others = answer
        _refuse(name, decisive)
        if other := differences(other_versions(), others):
            notices.setdefault(other, name)
    return [
        f"{name} has {other}; results can differ in rare cases" for other, name in notices.items()
    ]


def _asked_scheduler(client: Client) -> tuple[Versions, Versions] | Exception:
    try:
        answer: tuple[Versions, Versions] = client.run_on_scheduler(all_versions)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever another installation stumbles over)
        return error
    return answer


def _refuse(name: str, theirs: Versions) -> None:
    if other := differences(decisive_versions(), theirs):
        raise ConfigError(f"{name} has {other}; install the same versions there")


def _compare_folders(client: Client, jobs: Sequence[SlideJob]) -> None:
    job = jobs[0]
    shipped = job.config.prediction.model if "/" not in job.config.prediction.model else ""
    asked = {
        name: client.submit(
            seen_folders,
            job.out,
            f"runs/{job.run_id}.json",
            "" if shipped else job.model_folder,
            _one_of_each_folder(jobs),
            workers=[address],
            pure=False,
            priority=9,
        )
        for name, address in _one_of_each_host(client.scheduler_info(n_workers=-1)["workers"])
    }
    for name, answer in asked.items():
        try:
            fault = answer.result(timeout=ANSWER_S)
        except TimeoutError:
            continue  # busy with something else, or gone: its first task looks again
        if fault:
            raise ConfigError(f"{name} {fault}")


def _one_of_each_host(workers: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    hosts = {str(worker["host"]): address for address, worker in workers.items()}
    return [(f"worker {address} on {host}", address) for host, address in hosts.items()]


def _one_of_each_folder(jobs: Sequence[SlideJob]) -> list[str]:
    """Slides to look for: the first of each folder; a slide behind an URL is not looked for."""
    local = (job.path for job in jobs if "://" not in job.path and os.access(job.path, os.R_OK))
    folders: dict[str, str] = {}
    for path in local:
        folders.setdefault(os.path.dirname(path), path)  # noqa: PTH120 (thousands of them)
        if len(folders) == FOLDERS_LOOKED_AT:
            break
    return list(folders.values())
