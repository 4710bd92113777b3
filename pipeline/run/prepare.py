"""The prepare task: what is this slide, is it done, where is its tissue, what to predict."""

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.coverage import covered_tiles, grown, regions_with_squares, tiles_with_squares
from pipeline.core.points import CellPoints
from pipeline.core.qc.overview import look_over
from pipeline.core.tiling import RegionGrid, TileLattice, square_side
from pipeline.core.tissue import TissueMask, detect_tissue
from pipeline.errors import SlideError, UnreachableSlideError, UnreadableSlideError
from pipeline.io.files import refuse_link
from pipeline.io.fingerprint import SlideContent
from pipeline.io.heatmap import create_heatmap
from pipeline.io.ome import existing_plan
from pipeline.io.open_slides import SlidePlace, content_at, opened
from pipeline.io.pictures import write_thumbnail
from pipeline.io.plane import Overview, plane_over, read_overview
from pipeline.io.resolution import Resolution, check_against_model, resolve_resolution
from pipeline.io.results import has_result
from pipeline.io.slides import SlideReader
from pipeline.model.card import ModelCard, load_card
from pipeline.run.earlier import start_over
from pipeline.run.job import CellRule, Key, SlideJob, prediction_key, score_key
from pipeline.run.picture import draw_overlay, read_picture
from pipeline.run.places import place_of
from pipeline.run.plan import (
    HEATMAP_NAME,
    Plan,
    SlideFacts,
    StaleWorkError,
    Tissue,
    read_plan,
    region_path,
    utc_now,
    work_folder,
    write_look,
    write_plan,
    write_tissue,
)
from pipeline.run.refused import drop_refusal, keep_refusal, known_refusal
from pipeline.run.region_file import holds
from pipeline.run.region_of_interest import load_roi, marked_files
from pipeline.run.rescore import standing_of

logger = logging.getLogger(__name__)


def prepare_slide(job: SlideJob) -> dict[str, Any]:
    """Plan a slide, or find that it is done.

    Returns
    -------
    dict
        ``state``: ``done`` (nothing to do), ``scored`` (again, from what an earlier prediction
        left), ``refused`` (known not to be scored so; what is there stands) or ``planned``;
        ``reason``: what changed, when earlier results or work were dropped.

    Raises
    ------
    SlideError
        The slide cannot be read, or its resolution is unknown or impossible.
    ModelError
        The model card cannot be read.
    OutputError
        The output folder cannot be written.
    """
    for path in (job.folder, *(job.folder.iterdir() if job.folder.is_dir() else ())):
        refuse_link(path)
    card = load_card(Path(job.model_folder))
    found = content_of(job)
    content, (files, refusal) = found.fingerprint, marked_files(job)
    key, score = prediction_key(job, card, content), score_key(job, card, files)
    if known_refusal(job, key | score):
        return {"state": "refused"}
    try:
        standing = standing_of(job, card, key, score, found.as_json())
        if standing is None and refusal is not None and has_result(job.folder):
            raise refusal  # results that stand are not given up for it
    except SlideError as error:
        keep_refusal(job.folder, key | score, str(error))
        raise
    if standing is not None:
        drop_refusal(job.folder)
        return standing
    reason = start_over(job, key, score, found)
    if refusal is not None:
        raise refusal
    work = work_folder(job.folder)
    try:
        plan = read_plan(work)
        _check_heatmap(job, work)
        if plan.region_tiles != job.config.prediction.region_tiles:
            plan = _plan(job, card, key, content)
    except StaleWorkError:
        plan = _plan(job, card, key, content)
    for index in plan.regions:
        path = region_path(work, index)
        if path.exists() and not holds(path, plan.match):
            path.unlink()
    load_roi(job, plan)  # one that cannot be read is told of before hours of prediction
    return {"state": "planned", "reason": reason}


def _check_heatmap(job: SlideJob, work: Path) -> None:
    """Regions that are done have written to the heatmap: without it nothing of them is left.

    Raises
    ------
    StaleWorkError
        It is gone, or is none of ours.
    """
    if existing_plan(job.folder / HEATMAP_NAME) is None:
        shutil.rmtree(region_path(work, 0).parent, ignore_errors=True)
        raise StaleWorkError(f"{job.name}: the heatmap is gone; run again")


def content_of(job: SlideJob) -> SlideContent:
    """What the slide's files hold now: samples of each, or every byte where that is asked for.

    Raises
    ------
    UnreachableSlideError
        It cannot be read.
    """
    try:
        return content_at(SlidePlace(job.path, job.config.inputs, work=work_folder(job.folder)))
    except UnreadableSlideError as error:
        raise UnreachableSlideError(str(error)) from error


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What planning finds on a slide; nothing is written yet."""

    plan: Plan
    tissue: Tissue
    overview: Overview
    """What the tissue was found on."""


def lay_out(job: SlideJob, card: ModelCard, key: Key, content: str) -> Layout:
    """Open the slide, find its tissue, cut its plane; read only.

    Raises
    ------
    SlideError
        The slide cannot be read, or its resolution is unknown or impossible.
    """
    settings = job.config.slides
    with opened(place_of(job), settings.reader) as reader:
        resolution = resolve_resolution(reader, mpp=settings.mpp, assume_mpp=settings.assume_mpp)
        check_against_model(resolution, card.mpp_um, name=reader.name)
        overview = read_overview(reader, resolution, mpp_um=job.config.tissue.mpp)
        plan, tissue = _cut(job, card, key, content, reader, resolution, overview)
        picture = read_picture(
            reader,
            resolution,
            overview,
            mpp_um=job.config.tissue.mpp,
            finest_um=card.mpp_um,
        )
    return Layout(
        replace(plan, picture=picture.frame), replace(tissue, thumbnail=picture.rgb), overview
    )


def _plan(job: SlideJob, card: ModelCard, key: Key, content: str) -> Plan:
    """Lay the slide out, write the plan last."""
    found = lay_out(job, card, key, content)
    plan, tissue, overview = found.plan, found.tissue, found.overview
    work = work_folder(job.folder)
    with ThreadPoolExecutor(1) as beside:
        # seen before the first prediction: a wrong mask shows early
        overlay = beside.submit(draw_overlay, job.folder, plan, tissue, CellPoints.empty())
        write_thumbnail(job.folder / "thumbnail.jpg", tissue.thumbnail)
        write_tissue(work, tissue)
        um_per_px = plan.tissue_um_per_px
        write_look(work, look_over(overview.rgb, tissue.mask, overview.absent, um_per_px))
        _create_heatmap(job, card, plan)
        overlay.result()
    write_plan(work, plan)
    return plan


def _cut(
    job: SlideJob,
    card: ModelCard,
    key: Key,
    content: str,
    reader: SlideReader,
    resolution: Resolution,
    overview: Overview,
) -> tuple[Plan, Tissue]:
    config, rule = job.config, CellRule.of(job.config, card)
    frame = plane_over(reader, resolution, card.mpp_um)
    core_px = config.prediction.tile_core_px
    square_px = square_side(core_px, card.mpp_um)
    lattice = TileLattice(frame.width, frame.height, core_px, rule.halo_px, square=square_px)
    found = detect_tissue(
        overview.rgb,
        um_per_px=config.tissue.mpp,
        min_piece_mm2=config.tissue.min_piece_mm2,
        absent=overview.absent,
    )
    margin_px = config.tissue.margin_um / config.tissue.mpp
    mask = _with_unreadable(found, overview, margin_px)
    near = grown(mask.mask, radius_px=margin_px)
    squares = covered_tiles(near, overview.frame, lattice.squares, frame)
    grid = RegionGrid(lattice, config.prediction.region_tiles)
    plan = Plan(
        key=key,
        slide=_facts(job, content, reader, resolution),
        frame=frame,
        overview=overview.frame,
        picture=overview.frame,
        tissue_um_per_px=mask.um_per_px,
        tissue_mm2=mask.area_mm2,
        mpp_um=card.mpp_um,
        core_px=lattice.core,
        square_px=lattice.square,
        halo_px=lattice.halo,
        region_tiles=grid.tiles_per_side,
        window=rule.window,
        floor=rule.floor,
        tiles=int(np.count_nonzero(tiles_with_squares(squares, lattice))),
        squares=int(np.count_nonzero(squares)),
        regions=regions_with_squares(squares, grid),
        started=utc_now(),
    )
    return plan, Tissue(mask.mask, near, squares, overview.rgb)


def _with_unreadable(found: TissueMask, overview: Overview, margin_px: float) -> TissueMask:
    """Damage beside tissue counts as tissue: its tiles are tried one by one, and what fails shows.

    On the overview it is white, and a white hole in the tissue would leave the result in silence.
    """
    mask = found.mask.copy()
    reach = max(1, round(margin_px))
    for box in overview.unreadable:
        around = box.grown(reach)
        rows, cols = slice(max(0, around.y0), around.y1), slice(max(0, around.x0), around.x1)
        if found.mask[rows, cols].any():
            mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return TissueMask(mask, found.um_per_px)


def _facts(job: SlideJob, content: str, reader: SlideReader, resolution: Resolution) -> SlideFacts:
    bounds = reader.bounds
    return SlideFacts(
        name=job.name,
        fingerprint=content,
        reader=reader.reader,
        vendor=reader.vendor,
        width=reader.size[0],
        height=reader.size[1],
        bounds=(bounds.x0, bounds.y0, bounds.width, bounds.height),
        mpp=resolution.mpp,
        mpp_source=resolution.source,
        objective=reader.objective,
    )


def _create_heatmap(job: SlideJob, card: ModelCard, plan: Plan) -> None:
    settings, mpp = job.config.heatmap, plan.slide.mpp
    create_heatmap(
        job.folder / HEATMAP_NAME,
        plane_width=plan.frame.width,
        plane_height=plan.frame.height,
        downsample=settings.downsample,
        # one tile a chunk: regions of any size are whole chunks, and give the same ones
        chunk_px=plan.core_px // settings.downsample,
        mpp_um=card.mpp_um,
        origin_um=(plan.frame.origin_x_l0 * mpp[0], plan.frame.origin_y_l0 * mpp[1]),
        slide_mpp_um=mpp,
        ome_zarr=settings.ome_zarr,
        channels=card.channels,
    )
