"""A trial on this machine: a few real tiles through all tasks, for seconds and bytes a tile."""

import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.run.finalise import finalise_slide
from pipeline.run.job import SlideJob
from pipeline.run.plan import read_plan, read_tissue, work_folder, write_plan, write_tissue
from pipeline.run.preflight.costs import BLOCK_BYTES, Costs
from pipeline.run.prepare import prepare_slide
from pipeline.run.region import process_region

TRIAL_TILES = 4
"""The first loads the model and is not timed."""


def try_tiles(job: SlideJob, workers: int) -> Costs:
    """Send a few tiles of a slide through prepare, region and finalise in a private folder.

    Parameters
    ----------
    workers
        Of the run that is foreseen.

    Raises
    ------
    SlideError, ModelError, OutputError
        The trial did not work.
    """
    private = Path(tempfile.mkdtemp(prefix="ki67-preflight-"))  # 0700
    try:
        prediction = job.config.prediction.model_copy(update={"region_tiles": 1})
        config = job.config.model_copy(update={"prediction": prediction})
        trial = replace(job, out=str(private), config=config, retry_failed=False)
        prepare_slide(trial)
        tiles = _keep_few(trial)
        seconds = [_timed(trial, index) for index in tiles]
        begun = time.perf_counter()
        finalise_slide(trial)
        end_s = time.perf_counter() - begun
        tile_bytes, slide_bytes = _sizes(trial.folder, len(tiles))
    finally:
        shutil.rmtree(private, ignore_errors=True)
    timed = seconds[1:] or seconds
    tried = f"{len(tiles)} tile{'' if len(tiles) == 1 else 's'}"
    return Costs(
        statistics.fmean(timed),
        end_s,
        tile_bytes,
        slide_bytes,
        workers,
        f"a trial of {tried} of {Path(job.name).name} on this machine",
    )


def _keep_few(job: SlideJob) -> list[int]:
    """Leave only some tiles of tissue in the plan, spread over the slide."""
    work = work_folder(job.folder)
    plan, tissue = read_plan(work), read_tissue(work)
    places = np.linspace(0, len(plan.regions) - 1, TRIAL_TILES + 2)[1:-1]
    kept = sorted({plan.regions[round(place)] for place in places})
    lattice = plan.grid.lattice
    side = lattice.core // lattice.square
    squares = np.zeros_like(tissue.squares)
    for index in kept:
        for tile in plan.grid.region(index).tiles:
            rows, cols = (slice(at * side, (at + 1) * side) for at in (tile.row, tile.col))
            squares[rows, cols] = tissue.squares[rows, cols]
    write_tissue(work, replace(tissue, squares=squares))
    plan = replace(plan, regions=tuple(kept), tiles=len(kept))
    write_plan(work, replace(plan, squares=int(np.count_nonzero(squares))))
    return kept


def _timed(job: SlideJob, index: int) -> float:
    begun = time.perf_counter()
    process_region(job, index)
    return time.perf_counter() - begun


def _sizes(folder: Path, tiles: int) -> tuple[float, float]:
    """Bytes by tile (cells, heatmap, crops) and by slide (pictures, masks, the smallest files)."""
    by_tile = by_slide = 0
    for path in folder.rglob("*"):
        if path.is_file():
            taken = -(-path.stat().st_size // BLOCK_BYTES) * BLOCK_BYTES
            name = path.relative_to(folder).as_posix()
            if name.startswith(("cells", "candidates", "heatmap.ome.zarr/0", "quality")):
                by_tile += taken
            else:
                by_slide += taken
    return by_tile / tiles, float(by_slide)
