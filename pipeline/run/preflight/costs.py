"""What a run costs in time and on the disk: from earlier runs of the folder, else from a trial."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline.io.ledger import LEDGER_NAME
from pipeline.io.ledger_reading import read_ledger
from pipeline.run.job import SlideJob
from pipeline.run.made import host_class

BLOCK_BYTES = 4096
"""What the smallest file takes on most disks."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What tiles and slides cost here, and how that was found out."""

    tile_s: float
    """Of one worker, or of the whole cluster where ``workers`` is 0."""
    slide_s: float
    """Of finalising one slide."""
    tile_bytes: float
    slide_bytes: float
    workers: int
    source: str


def mean_costs(costs: Sequence[Costs]) -> Costs:
    """Mean of trials that ran at the same time, as the workers of a run do."""
    return replace(
        costs[0],
        tile_s=statistics.fmean(each.tile_s for each in costs),
        slide_s=statistics.fmean(each.slide_s for each in costs),
    )


def costs_of_runs(job: SlideJob) -> Costs | None:
    """What the newest finished run of this folder, model and kind of machine says; or None.

    Raises
    ------
    OutputError
        The ledger is damaged.
    """
    out, prediction = Path(job.out), job.config.prediction
    ledger = read_ledger(out / LEDGER_NAME)
    here = host_class(prediction.device)
    for run in reversed(ledger.runs):
        rows = [row for row in ledger.slides if row.run_id == run.run_id and row.pixels]
        alike = run.host_class == here and run.weights_sha256 == job.weights_sha256
        if not (rows and alike and run.ended and run.status == "finished"):
            continue
        wall_s = _seconds_between(run.started, run.ended)
        tiles = sum(row.pixels or 0 for row in rows) / prediction.tile_core_px**2
        size = sum(_folder_bytes(out / "slides" / row.slide_id) for row in rows)
        if tiles and size:
            source = f"run {run.run_id} of this folder ({len(rows)} slides, {tiles:.0f} tiles)"
            return Costs(wall_s / tiles, 0.0, size / tiles, 0.0, 0, source)
    return None


def _folder_bytes(folder: Path) -> int:
    paths = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return sum(-(-path.stat().st_size // BLOCK_BYTES) * BLOCK_BYTES for path in paths)


def free_bytes(folder: Path) -> int:
    """Room on the disk that holds a folder, or would hold it."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    room = os.statvfs(there)
    return room.f_bavail * room.f_frsize


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
