"""A slide looked at as a run's first task would, without writing anything."""

import time
from dataclasses import replace
from pathlib import Path

from pipeline.core.coverage import regions_with_squares, tiles_with_squares
from pipeline.core.tiling import Tile
from pipeline.errors import ConfigError, ModelError, OutputError, PipelineError, SlideError
from pipeline.io.open_slides import opened
from pipeline.io.plane import SlidePlane
from pipeline.io.results import SCORE_NAME, read_score
from pipeline.model.card import load_card
from pipeline.run.basis import BASIS_NAME, read_basis, read_model
from pipeline.run.earlier import Earlier, read_earlier, why
from pipeline.run.job import SlideJob, prediction_key, score_key
from pipeline.run.places import place_of
from pipeline.run.plan import (
    Plan,
    StaleWorkError,
    Tissue,
    read_plan,
    read_tissue_squares,
    read_work,
    region_path,
    work_folder,
)
from pipeline.run.preflight.outlook import Outlook, Verdict
from pipeline.run.prepare import content_of, lay_out
from pipeline.run.refused import known_refusal
from pipeline.run.region_file import holds
from pipeline.run.region_of_interest import load_roi, marked_files
from pipeline.run.rescore import Standing, standing
from pipeline.run.scoring import check_unreadable, refuse_damage
from pipeline.run.tile_pixels import read_parts


def look(job: SlideJob, read_all: bool = False) -> Outlook:
    """Do what a run's first task does for a slide, and keep it to oneself.

    Parameters
    ----------
    read_all
        Read every tile that would be predicted, so that damage inside the slide shows now.

    Raises
    ------
    ConfigError, ModelError, OutputError
        No slide could be run this way.
    """
    begun = time.perf_counter()
    seen = Outlook(job.slide_id, job.name, "predict")
    try:
        seen = _with_file(seen, job)
        seen = _foreseen(seen, job, read_all)
    except (ConfigError, ModelError, OutputError):
        raise
    except PipelineError as error:
        seen = replace(seen, verdict="will fail", reason=str(error))
    except Exception as error:  # noqa: BLE001 (whatever a slide can do to a library)
        lines = str(error).strip().splitlines() or ["no message"]
        seen = replace(
            seen, verdict="will fail", reason=f"prepare: {type(error).__name__}: {lines[0][:300]}"
        )
    return replace(seen, look_s=round(time.perf_counter() - begun, 3))


def _with_file(seen: Outlook, job: SlideJob) -> Outlook:
    """Add what the reader says; a slide that cannot be opened is told of by what comes next."""
    try:
        with opened(place_of(job), job.config.slides.reader) as reader:
            mpp_x, mpp_y = reader.mpp or (None, None)
            return replace(
                seen,
                reader=reader.reader,
                vendor=reader.vendor,
                width=reader.size[0],
                height=reader.size[1],
                levels=len(reader.level_sizes),
                mpp_x=mpp_x,
                mpp_y=mpp_y,
                mpp_source=reader.mpp_source,
                objective=reader.objective,
            )
    except SlideError:
        return seen


def _foreseen(seen: Outlook, job: SlideJob, read_all: bool) -> Outlook:
    card = load_card(Path(job.model_folder))
    found, (files, refusal) = content_of(job), marked_files(job)
    key, score = prediction_key(job, card, found.fingerprint), score_key(job, card, files)
    members = found.as_json()
    if reason := known_refusal(job, key | score):
        return _nothing_left(replace(seen, verdict="known failure", reason=reason))
    if (stands := standing(job, key, score, members)) is not None:
        return _standing(seen, job, stands)
    if refusal is not None:
        raise refusal
    work = work_folder(job.folder)
    begun = read_work(work)
    goes_on = begun is not None and begun.key == key
    before = Earlier(begun.key | begun.score) if begun else read_earlier(job.folder)
    layout = lay_out(job, card, key, found.fingerprint)
    plan, tissue = layout.plan, layout.tissue
    load_roi(job, plan)
    if read_all:
        refuse_damage(job, _unreadable_squares(job, plan, tissue), plan.squares)
    seen = _with_plan(seen, plan)
    if not goes_on:
        return replace(seen, reason=why(before, key | score, members))
    left = _left(work, plan)
    return replace(
        seen,
        verdict="go on" if len(left) < len(plan.regions) else "predict",
        regions_left=len(left),
        tiles_left=sum(len(_tiles_of(plan, tissue, index)) for index in left),
    )


def _standing(seen: Outlook, job: SlideJob, stands: Standing) -> Outlook:
    """Describe a slide that needs no prediction by what its results say."""
    score = read_score(job.folder / SCORE_NAME)
    if score.status == "failed":
        return _nothing_left(replace(seen, verdict="known failure", reason=score.reason or ""))
    verdict: Verdict = "score again" if stands.state == "score" else "done"
    seen = replace(seen, verdict=verdict, reason=stands.reason)
    try:
        _, _, plan = read_model(job.folder)
        basis = read_basis(job.folder) if stands.state == "score" else None
        squares = read_tissue_squares(job.folder / BASIS_NAME)
    except (OutputError, OSError):
        return _nothing_left(seen)
    if basis is not None:
        check_unreadable(job, basis)
        load_roi(job, basis.plan)
    plan = replace(plan, region_tiles=job.config.prediction.region_tiles)
    plan = replace(plan, regions=regions_with_squares(squares, plan.grid))
    return _nothing_left(_with_plan(seen, plan))


def _nothing_left(seen: Outlook) -> Outlook:
    return replace(seen, regions_left=0, tiles_left=0)


def _with_plan(seen: Outlook, plan: Plan) -> Outlook:
    slide = plan.slide
    return replace(
        seen,
        mpp_x=slide.mpp[0],
        mpp_y=slide.mpp[1],
        mpp_source=slide.mpp_source,
        tissue_mm2=plan.tissue_mm2,
        regions=len(plan.regions),
        tiles=plan.tiles,
        regions_left=len(plan.regions),
        tiles_left=plan.tiles,
    )


def _left(work: Path, plan: Plan) -> list[int]:
    """Regions that no file of this plan holds."""
    try:
        if read_plan(work).match != plan.match:
            return list(plan.regions)
    except StaleWorkError:
        return list(plan.regions)
    paths = {index: region_path(work, index) for index in plan.regions}
    return [i for i, path in paths.items() if not path.exists() or not holds(path, plan.match)]


def _tiles_of(plan: Plan, tissue: Tissue, index: int) -> list[Tile]:
    covered = tiles_with_squares(tissue.squares, plan.grid.lattice)
    return [tile for tile in plan.grid.region(index).tiles if covered[tile.row, tile.col]]


def _unreadable_squares(job: SlideJob, plan: Plan, tissue: Tissue) -> int:
    """Read everything as the regions would; how many squares of tissue are damaged."""
    lattice, damaged = plan.grid.lattice, 0
    with opened(place_of(job), plan.slide.reader) as reader:
        plane = SlidePlane(reader, plan.frame)
        for index in plan.regions:
            tiles = _tiles_of(plan, tissue, index)
            damaged += len(read_parts(plane, lattice, tiles, tissue.squares).unreadable)
    return damaged
