"""Checks of the machine: cores and memory that may be used, limits, clock, language."""

import locale
import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from distributed.system import MEMORY_LIMIT

from pipeline.config import ClusterSettings
from pipeline.run.clusters.local import WORKER_BYTES, local_workers
from pipeline.run.doctor.checking import Outcome, Question

LEAST_PYTHON = (3, 11)
LEAST_FILES = 1024
_GROUPS = Path("/sys/fs/cgroup")

Answer = tuple[Outcome, str, str]


def questions() -> list[Question]:
    """Checks that need no file of the user."""
    return [
        ("python", python_version),
        ("cpu", cores),
        ("memory", memory),
        ("open files", open_files),
        ("clock", clock),
        ("text", text_encoding),
    ]


def python_version() -> Answer:
    """Python's version and system."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < LEAST_PYTHON:
        return "fail", found, "install Python 3.11 or newer"
    if sys.platform != "linux":
        return "warn", found, "tested on Linux only"
    return "ok", found, ""


def cores() -> Answer:
    """Cores of the machine, those this process may use, and a container's share of them."""
    usable, quota = len(os.sched_getaffinity(0)), cpu_quota(_GROUPS)
    found = f"{os.cpu_count()} cores, {usable} usable"
    if quota is None:
        return "ok", found, ""
    found += f", {quota:g} by the container's quota"
    if quota < usable:
        most = max(1, int(quota))
        return "warn", found, f"more workers than that slow each other down: --workers {most}"
    return "ok", found, ""


def memory() -> Answer:
    """Memory that workers may take, as dask sees it: the container's limit is in it."""
    limit_gib, worker_gib = MEMORY_LIMIT / 2**30, WORKER_BYTES / 2**30
    workers = local_workers(ClusterSettings())
    found = f"{limit_gib:.1f} GiB, {workers} workers of about {worker_gib:g} GiB by default"
    if limit_gib < worker_gib:
        return "fail", found, f"a worker may need {worker_gib:g} GiB; give the machine more"
    if limit_gib < 2 * worker_gib:
        return "warn", found, "room for one worker only; use --workers 1"
    return "ok", found, ""


def open_files() -> Answer:
    """Files one process may have open: a worker keeps slides, chunks and connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        return "warn", f"{soft} (at most {hard})", f"raise it: ulimit -n {LEAST_FILES}"
    return "ok", str(soft), ""


def clock() -> Answer:
    """Whether the clock can be true and does not run backwards."""
    now, begun = datetime.now(UTC), time.monotonic()
    built = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    found = now.isoformat(timespec="seconds")
    if time.monotonic() < begun:
        return "fail", f"{found}; the monotonic clock went back", "mend the machine's clock"
    if now < built:
        return "warn", f"{found}, before this program was installed", "set the clock (NTP)"
    return "ok", found, ""


def text_encoding() -> Answer:
    """Whether names of files and output can hold every letter."""
    names, out = sys.getfilesystemencoding(), locale.getpreferredencoding(False)
    found = f"file names {names}, text {out}"
    if {names.lower().replace("-", ""), out.lower().replace("-", "")} != {"utf8"}:
        return "warn", found, "names with accents may be shown wrongly: export LC_ALL=C.UTF-8"
    return "ok", found, ""


def cpu_quota(groups: Path) -> float | None:
    """Cores a control group (a container) may use at a time; None without a limit.

    Parameters
    ----------
    groups
        Where control groups are mounted.
    """
    try:
        quota, period = (groups / "cpu.max").read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        try:
            quota = (groups / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (groups / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return float(quota) / float(period)
