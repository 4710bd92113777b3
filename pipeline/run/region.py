"""The region task: read once, predict tile by tile, settle peaks, write what the region owns."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks
from pipeline.core.coverage import tiles_with_squares
from pipeline.core.qc.bins import MEASURES
from pipeline.core.qc.look import Glass
from pipeline.core.qc.measures import measure_tile
from pipeline.core.seams import border_strips, settle_region
from pipeline.core.soundness import fault_of
from pipeline.core.tiling import Box, Region
from pipeline.errors import ModelError, SlideError
from pipeline.io.heatmap import write_block
from pipeline.io.open_slides import opened
from pipeline.io.plane import SlidePlane
from pipeline.model.predictor import Predictor, PredictorSpec, get_predictor
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.places import place_of
from pipeline.run.plan import (
    HEATMAP_NAME,
    Plan,
    PlanMark,
    plan_mark,
    read_glass,
    read_plan,
    read_tissue_squares,
    region_path,
    work_folder,
)
from pipeline.run.region_file import RegionResult, holds, write_region
from pipeline.run.stages import StageClock
from pipeline.run.tile_pixels import Part, place, read_parts


def process_region(job: SlideJob, index: int) -> dict[str, Any]:
    """Predict one region; its file, written last and in one step, is the done mark.

    Doing it twice is harmless: the same bytes are written, and a region that is done is left.

    Returns
    -------
    dict
        ``tiles`` of the region, squares that are ``unreadable``, ``pixels`` predicted without
        their halos, ``peaks`` settled, ``cells`` among them that reach the threshold, ``seconds``
        by stage, and whether it was ``new``.

    Raises
    ------
    SlideError
        The prediction failed, or the plan is gone.
    ModelError
        The model cannot be used, or there is no such device.
    DeviceError
        The device is lost or full.
    OutputError
        The output folder cannot be written.
    """
    work = work_folder(job.folder)
    plan, squares, glass = _planned(work, plan_mark(work))
    path = region_path(work, index)
    if holds(path, plan.match):
        return {"tiles": 0, "unreadable": 0, "peaks": 0, "new": False}
    clock, region = StageClock(), plan.grid.region(index)
    covered = tiles_with_squares(squares, plan.grid.lattice)
    tiles = [tile for tile in region.tiles if covered[tile.row, tile.col]]
    slide = plan.slide
    with (
        clock.stage("read"),
        opened(place_of(job), slide.reader, content=slide.fingerprint) as reader,
    ):
        read = read_parts(SlidePlane(reader, plan.frame), plan.grid.lattice, tiles, squares)
    predictor = _predictor(job)
    with clock.stage("forward"):
        heatmap = _predict(predictor, plan, region, read.parts)
        lost = [plan.grid.lattice.squares.tile(*at).core for at in read.unreadable.tolist()]
        for square in lost:  # between others it was predicted, from white
            heatmap[(slice(None), *place(square, region.box))] = 0
    with clock.stage("settle"):
        peaks, undecided = _settle(plan, region, heatmap)
    with clock.stage("measure"):
        measures = _measure(plan, region, read.parts, lost, glass)
    with clock.stage("write"):
        # before the mark: a region that counts as done has its heatmap
        write_block(job.folder / HEATMAP_NAME, region.box.x0, region.box.y0, heatmap)
        strips = border_strips(heatmap, window=plan.window)
        result = RegionResult(peaks, undecided, strips, read.unreadable, measures)
        write_region(path, result, plan.match)
    threshold = CellRule.of(job.config, predictor.card).threshold
    return {
        "tiles": len(tiles),
        "unreadable": len(read.unreadable),
        "pixels": sum(part.core.width * part.core.height for part in read.parts),
        "peaks": len(peaks),
        "cells": int(np.count_nonzero(peaks.score >= threshold)),
        "seconds": clock.seconds,
        "new": True,
    }


@lru_cache(maxsize=2)
def _planned(work: Path, mark: PlanMark) -> tuple[Plan, NDArray[np.bool_], Glass]:  # noqa: ARG001
    """What all regions of a slide are made by, read once for each time that it was planned."""
    plan, squares, glass = read_plan(work), read_tissue_squares(work), read_glass(work)
    squares.flags.writeable = False
    return plan, squares, glass


def _settle(plan: Plan, region: Region, heatmap: NDArray[np.float32]) -> tuple[Peaks, Peaks]:
    return settle_region(
        heatmap,
        region.box,
        plane_width=plan.frame.width,
        plane_height=plan.frame.height,
        window=plan.window,
        floor=plan.floor,
    )


def _predictor(job: SlideJob) -> Predictor:
    return get_predictor(
        PredictorSpec(
            job.model_folder,
            job.weights_sha256,
            device=job.config.prediction.device,
            engine=job.config.prediction.engine,
            threads=job.config.cluster.threads,
            dtype=job.config.prediction.dtype,
        )
    )


def _predict(
    predictor: Predictor, plan: Plan, region: Region, parts: Sequence[Part]
) -> NDArray[np.float32]:
    """``(C, height, width)`` float32 of the region's cores; 0 where nothing was predicted."""
    predicted = predictor.heatmaps((part.pixels for part in parts), margin=plan.halo_px)
    try:
        if [part.core for part in parts] == [region.box]:
            heatmap = next(predicted)  # as it is: a copy of the largest array is saved
            _refuse_fault(predictor, plan, region, parts[0], heatmap)
            return heatmap
        shape = (len(predictor.card.channels), region.box.height, region.box.width)
        heatmap = np.zeros(shape, np.float32)
        for part, values in zip(parts, predicted, strict=True):
            # beyond the plane a part has context and no core
            target = heatmap[(slice(None), *place(part.core, region.box))]
            target[:] = values[:, : target.shape[1], : target.shape[2]]
            _refuse_fault(predictor, plan, region, part, target)
    except ModelError as error:
        raise SlideError(f"region {region.index}: {error}") from error
    return heatmap


def _refuse_fault(
    predictor: Predictor, plan: Plan, region: Region, part: Part, heatmap: NDArray[np.float32]
) -> None:
    height, width = heatmap.shape[1:]
    inside = slice(plan.halo_px, plan.halo_px + height), slice(plan.halo_px, plan.halo_px + width)
    if fault := fault_of(heatmap, part.pixels[inside], floor=plan.floor):
        raise SlideError(f"region {region.index}: {predictor.card.name}: {fault}")


def _measure(
    plan: Plan, region: Region, parts: Sequence[Part], lost: Sequence[Box], glass: Glass
) -> NDArray[np.float32]:
    """``(measures, bins, bins)`` float32 of the region, NaN outside its parts and in lost squares.

    Of the cores alone: a bin has the same measures whatever the region.
    """
    bin_px, halo = plan.square_px, plan.halo_px
    side = plan.grid.side // bin_px
    found = np.full((len(MEASURES), side, side), np.nan, np.float32)

    def bins_of(box: Box) -> tuple[slice, slice, slice]:
        rows, cols = place(box, region.box)
        # a square at the plane's border is clipped, and its last bins are whole
        row, col = (slice(at.start // bin_px, -(-at.stop // bin_px)) for at in (rows, cols))
        return slice(None), row, col

    for part in parts:
        height, width = part.core.height, part.core.width
        inside = part.pixels[halo : halo + height, halo : halo + width]
        found[bins_of(part.core)] = measure_tile(
            inside, bin_px=bin_px, mpp_um=plan.mpp_um, glass=glass
        )
    for square in lost:
        found[bins_of(square)] = np.nan
    return found
