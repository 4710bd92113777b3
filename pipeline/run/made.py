"""What a done mark says of its making: the run, the slide's files, the work; in no key."""

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.io.done import DoneMark, rewrite_done
from pipeline.io.remote import shown
from pipeline.io.sources import printable
from pipeline.run.job import SlideJob
from pipeline.run.plan import Plan, utc_now

Members = Mapping[str, Mapping[str, Any]]
"""Files of a slide: see :meth:`pipeline.io.fingerprint.SlideContent.as_json`."""


def made_by(job: SlideJob, plan: Plan | None, members: Members) -> dict[str, Any]:
    """Say which run made a slide's files, from what, and how much was predicted for it."""
    return {
        **run_of(job),
        "regions": None if plan is None else len(plan.regions),
        "pixels": None if plan is None else plan.squares * plan.square_px**2,
        "members": dict(members),
    }


def run_of(job: SlideJob) -> dict[str, Any]:
    """Say which run has done it, where and when."""
    return {
        "run_id": job.run_id,
        **({"path": printable(shown(job.path))} if job.path else {}),
        "finished": utc_now(),
        "host_class": host_class(job.config.prediction.device),
    }


def host_class(device: str) -> str:
    """Kind of machine and device: times are comparable within one."""
    return f"{device}, {platform.machine()}, {os.cpu_count()} cores"


def with_sums(mark: DoneMark, members: Members) -> DoneMark:
    """Add sums over every byte that were made now to a mark that has none."""
    kept = mark.made.get("members", {})
    if any(member.get("sha256") is None for member in members.values()) or kept == members:
        return mark
    return replace(mark, made={**mark.made, "members": dict(members)})


def keep_sums(folder: Path, mark: DoneMark, members: Members) -> None:
    """Keep sums over every byte in the done mark, where it has none and they were made now.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    if (known := with_sums(mark, members)) is not mark:
        rewrite_done(folder, known)
