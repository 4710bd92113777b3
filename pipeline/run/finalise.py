"""The finalise task: seams, cells, score, files; done.json last."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.errors import SlideChangedError
from pipeline.io.files import sweep_partial
from pipeline.io.fingerprint import SlideContent, changed_members, marks_differ
from pipeline.io.heatmap import finish_heatmap
from pipeline.io.results import DONE_NAME, write_done
from pipeline.model.card import load_card
from pipeline.run.basis import SlideBasis, keep_basis
from pipeline.run.job import SlideJob
from pipeline.run.made import made_by
from pipeline.run.outputs import crop_slide, score_basis
from pipeline.run.plan import (
    HEATMAP_NAME,
    BegunWork,
    Plan,
    read_plan,
    read_tissue,
    read_work,
    utc_now,
    work_folder,
)
from pipeline.run.prepare import content_of
from pipeline.run.quality import measured_slide
from pipeline.run.region_file import read_regions
from pipeline.run.region_of_interest import load_roi, roi_missing, score_files
from pipeline.run.rescore import scoring_settings
from pipeline.run.scoring import ScoredWith, check_unreadable
from pipeline.run.settle import settle_slide


def finalise_slide(job: SlideJob) -> dict[str, Any]:
    """Turn the region files of a slide into its results, the done mark last.

    Returns
    -------
    dict
        ``state``: ``scored``.

    Raises
    ------
    SlideError
        Too many tiles could not be read.
    SlideChangedError
        The file is not the one that was planned.
    StaleWorkError
        A region file is missing: the slide is to be planned anew.
    OutputError
        The output folder cannot be written.
    """
    work = work_folder(job.folder)
    keys = read_work(work)
    if keys is None and (job.folder / DONE_NAME).exists():
        return {"state": "scored"}  # sent twice: a worker died after the last step
    sweep_partial(job.folder)  # of workers that were killed; all tasks of the slide are through
    with ThreadPoolExecutor(1) as beside:
        levels = beside.submit(finish_heatmap, job.folder / HEATMAP_NAME)
        plan, content = _score(job, work, keys)
        levels.result()
    if keys is not None:
        write_done(
            job.folder,
            keys.key | keys.score,
            settings=scoring_settings(job.config),
            made=made_by(job, plan, content.as_json()),
        )
    shutil.rmtree(work)
    return {"state": "scored"}


def _score(job: SlideJob, work: Path, keys: BegunWork | None) -> tuple[Plan, SlideContent]:
    """Make every file but the heatmap; return what was planned and what the slide's files hold."""
    card, plan, tissue = load_card(Path(job.model_folder)), read_plan(work), read_tissue(work)
    regions = read_regions(work, plan)
    settled = settle_slide(work, plan, tissue, regions)
    measured = measured_slide(work, plan, tissue, regions)
    del regions  # as large as the cells
    basis = SlideBasis(card, job.weights_sha256, plan, tissue, settled, measured)
    content = content_of(job)
    _check_content(job, plan, keys, content)
    check_unreadable(job, basis)  # after: a file that was being changed looks damaged
    roi = load_roi(job, plan)
    _check_score_files(job, keys)
    basis = keep_basis(job.folder, basis)
    scored = ScoredWith(
        started=plan.started,
        ended=max(plan.started, utc_now()),  # a clock may be set back meanwhile
        roi=roi,
        roi_missing=roi is None and roi_missing(job),
    )
    score, found = score_basis(job, basis, job.folder, scored)
    crop_slide(job, basis, found, score)
    return plan, content


def _check_content(
    job: SlideJob, plan: Plan, begun: BegunWork | None, content: SlideContent
) -> None:
    before, after = {} if begun is None else begun.members, content.as_json()
    files = changed_members(before, after)
    same = content.fingerprint == plan.slide.fingerprint and not marks_differ(before, after)
    if same and not files:
        return
    named = "; ".join(name for name in files if name)
    which = f" ({named})" if named else ""
    raise SlideChangedError(f"{job.name}: the file changed while it was read{which}; run again")


def _check_score_files(job: SlideJob, keys: BegunWork | None) -> None:
    """The region of interest must be the one in the key that the done mark will carry."""
    if keys is not None and any(
        keys.score.get(name) != mark for name, mark in score_files(job).items()
    ):
        raise SlideChangedError(
            f"{job.name}: its region of interest or the calibration changed meanwhile; run again"
        )
