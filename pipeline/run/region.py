"""The region task: read once, predict tile by tile, settle peaks, write what the region owns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks
from pipeline.core.qc.bins import bin_side
from pipeline.core.qc.measures import MEASURES, measure_tile
from pipeline.core.qc.overview import Glass
from pipeline.core.seams import border_strips, settle_region
from pipeline.core.soundness import fault_of
from pipeline.core.tiling import Box, Region, Tile
from pipeline.errors import ModelError, SlideError, UnreadableSlideError
from pipeline.io.heatmap import write_block
from pipeline.io.open_slides import opened
from pipeline.io.plane import SlidePlane
from pipeline.model.predictor import Predictor, PredictorSpec, get_predictor
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.places import place_of
from pipeline.run.plan import (
    HEATMAP_NAME,
    Plan,
    read_look,
    read_plan,
    read_tissue_tiles,
    region_path,
    work_folder,
)
from pipeline.run.region_file import RegionResult, holds, write_region
from pipeline.run.stages import StageClock

Pixels = NDArray[np.uint8]


def process_region(job: SlideJob, index: int) -> dict[str, Any]:
    """Predict one region; its file, written last and in one step, is the done mark.

    Doing it twice is harmless: the same bytes are written, and a region that is done is left.

    Returns
    -------
    dict
        ``tiles`` of the region, ``unreadable`` ones, ``pixels`` of the others' cores, ``peaks``
        settled, ``cells`` among them that reach the threshold, ``seconds`` by stage, and whether
        it was ``new``.

    Raises
    ------
    SlideError
        The prediction failed, or the plan is gone.
    ModelError
        The model or the device cannot be used.
    OutputError
        The output folder cannot be written.
    """
    work = work_folder(job.folder)
    plan = read_plan(work)
    path = region_path(work, index)
    if holds(path, plan.match):
        return {"tiles": 0, "unreadable": 0, "peaks": 0, "new": False}
    clock, region, covered = StageClock(), plan.grid.region(index), read_tissue_tiles(work)
    tiles = [tile for tile in region.tiles if covered[tile.row, tile.col]]
    slide = plan.slide
    with (
        clock.stage("read"),
        opened(place_of(job), slide.reader, content=slide.fingerprint) as reader,
    ):
        pixels = read_tiles(SlidePlane(reader, plan.frame), tiles)
    readable = [tile for tile in tiles if tile in pixels]
    predictor = _predictor(job)
    with clock.stage("forward"):
        seen = [pixels[tile] for tile in readable]
        heatmap = _predict(predictor, region, readable, seen, plan.floor)
    with clock.stage("settle"):
        peaks = _settle(plan, region, heatmap)
    with clock.stage("measure"):
        measures = _measure(plan, readable, seen, read_look(work).glass)
    with clock.stage("write"):
        # before the mark: a region that counts as done has its heatmap
        write_block(job.folder / HEATMAP_NAME, region.box.x0, region.box.y0, heatmap)
        strips = border_strips(heatmap, window=plan.window)
        unreadable = _places([tile for tile in tiles if tile not in pixels])
        result = RegionResult(peaks, strips, unreadable, _places(readable), measures)
        write_region(path, result, plan.match)
    threshold = CellRule.of(job.config, predictor.card).threshold
    return {
        "tiles": len(tiles),
        "unreadable": len(unreadable),
        "pixels": sum(tile.core.width * tile.core.height for tile in readable),
        "peaks": len(peaks),
        "cells": int(np.count_nonzero(peaks.score >= threshold)),
        "seconds": clock.seconds,
        "new": True,
    }


def _settle(plan: Plan, region: Region, heatmap: NDArray[np.float32]) -> Peaks:
    return settle_region(
        heatmap,
        region.box,
        plane_width=plan.frame.width,
        plane_height=plan.frame.height,
        window=plan.window,
        floor=plan.floor,
    )


def _places(tiles: list[Tile]) -> NDArray[np.int32]:
    """``(tiles, 2)``: row and column of each."""
    return np.array([(tile.row, tile.col) for tile in tiles], np.int32).reshape(-1, 2)


def _predictor(job: SlideJob) -> Predictor:
    return get_predictor(
        PredictorSpec(
            job.model_folder,
            job.weights_sha256,
            device=job.config.prediction.device,
            engine=job.config.prediction.engine,
            threads=job.config.cluster.threads,
        )
    )


def read_tiles(plane: SlidePlane, tiles: list[Tile]) -> dict[Tile, Pixels]:
    """Read the pixels of each tile's source; tiles whose core cannot be read are left out."""
    sources = [tile.source for tile in tiles]
    box = Box(
        min(source.x0 for source in sources),
        min(source.y0 for source in sources),
        max(source.x1 for source in sources),
        max(source.y1 for source in sources),
    )
    try:
        whole = plane.read(box)
    except UnreadableSlideError:
        pixels = {tile: _read_damaged(plane, tile) for tile in tiles}
        return {tile: found for tile, found in pixels.items() if found is not None}
    return {tile: whole[_place(tile.source, box)] for tile in tiles}


def _read_damaged(plane: SlidePlane, tile: Tile) -> Pixels | None:
    """One tile near damage: None if its core is hit; where only its halo is hit that is white.

    What is white depends on the tile alone, so another region size gives the same heatmap.
    """
    source, core = tile.source, tile.core
    try:
        return plane.read(source)
    except UnreadableSlideError:
        pass
    pixels = np.full((source.height, source.width, 3), 255, np.uint8)
    columns = ((source.x0, core.x0), (core.x0, core.x1), (core.x1, source.x1))
    rows = ((source.y0, core.y0), (core.y0, core.y1), (core.y1, source.y1))
    for y0, y1 in rows:
        for x0, x1 in columns:
            part = Box(x0, y0, x1, y1)
            try:
                pixels[_place(part, source)] = plane.read(part)
            except UnreadableSlideError:
                if part == core:
                    return None
    return pixels


def _predict(
    predictor: Predictor, region: Region, tiles: list[Tile], pixels: list[Pixels], floor: float
) -> NDArray[np.float32]:
    """``(C, height, width)`` float32 of the region's cores; 0 where nothing was predicted."""
    shape = (len(predictor.card.channels), region.box.height, region.box.width)
    heatmap = np.zeros(shape, np.float32)
    if not tiles:
        return heatmap
    margin = tiles[0].core.x0 - tiles[0].source.x0
    predicted = predictor.heatmaps(pixels, margin=margin)
    try:
        for tile, seen, whole in zip(tiles, pixels, predicted, strict=True):
            # beyond the plane a tile has context and no core
            values = whole[:, : tile.core.height, : tile.core.width]
            if fault := fault_of(values, seen[_place(tile.core, tile.source)], floor=floor):
                raise SlideError(f"region {region.index}: {predictor.card.name}: {fault}")
            rows, cols = _place(tile.core, region.box)
            heatmap[:, rows, cols] = values
    except ModelError as error:
        raise SlideError(f"region {region.index}: {error}") from error
    return heatmap


def _measure(
    plan: Plan, tiles: list[Tile], pixels: list[Pixels], glass: Glass
) -> NDArray[np.float32]:
    """``(tiles, measures, bins, bins)`` float32: of the cores alone, whose tile alone owns them."""
    bin_px, core = bin_side(plan.core_px, plan.mpp_um), plan.core_px
    side = core // bin_px
    found = np.zeros((len(tiles), len(MEASURES), side, side), np.float32)
    for number, (tile, read) in enumerate(zip(tiles, pixels, strict=True)):
        # beyond the plane a source is white, and the core's bins are whole
        whole = Box(tile.core.x0, tile.core.y0, tile.core.x0 + core, tile.core.y0 + core)
        inside = read[_place(whole, tile.source)]
        found[number] = measure_tile(inside, bin_px=bin_px, mpp_um=plan.mpp_um, glass=glass)
    return found


def _place(box: Box, inside: Box) -> tuple[slice, slice]:
    """Where a box lies in an array of ``inside``: row slice, column slice."""
    return (
        slice(box.y0 - inside.y0, box.y1 - inside.y0),
        slice(box.x0 - inside.x0, box.x1 - inside.x0),
    )
