"""The finalise task: seams, cells, score, files; done.json last."""

import shutil
from pathlib import Path
from typing import Any

from pipeline.errors import SlideChangedError, UnreadableSlideError
from pipeline.io.files import sweep_partial
from pipeline.io.results import DONE_NAME, SCORE_NAME, write_done, write_score
from pipeline.model.card import load_card
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.outputs import write_outputs
from pipeline.run.plan import Plan, read_key, read_plan, read_tissue, work_folder
from pipeline.run.prepare import content_of
from pipeline.run.scoring import score_slide
from pipeline.run.settle import SlideCells, settle_slide


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
    keys = read_key(work)
    if keys is None and (job.folder / DONE_NAME).exists():
        return {"state": "scored"}  # sent twice: a worker died after the last step
    card, plan, tissue = load_card(Path(job.model_folder)), read_plan(work), read_tissue(work)
    threshold = CellRule.of(job.config, card).threshold
    found = settle_slide(work, plan, tissue, threshold=threshold)
    _check_unreadable(job, plan, found)
    if content_of(job) != plan.slide.fingerprint:
        raise SlideChangedError(f"{job.name}: the file changed while it was read; run again")
    sweep_partial(job.folder)  # of workers that were killed; all tasks of the slide are through
    write_outputs(job, card, plan, tissue, found)
    score = score_slide(job, card, plan, tissue, found)
    write_score(job.folder / SCORE_NAME, score)
    if keys is not None:
        write_done(job.folder, keys[0] | keys[1])
    shutil.rmtree(work)
    return {"state": "scored"}


def _check_unreadable(job: SlideJob, plan: Plan, found: SlideCells) -> None:
    most_pct = job.config.slides.max_unreadable_pct
    count = len(found.unreadable)
    if plan.tiles and 100 * count / plan.tiles > most_pct:
        raise UnreadableSlideError(
            f"{job.name}: {count} of {plan.tiles} tissue tiles cannot be read, more than "
            f"slides.max_unreadable_pct={most_pct:g}; copy the slide again or raise the limit"
        )
