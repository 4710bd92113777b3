"""The jobs of a run, made from the slides that were found: each with its own settings."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.config import RunConfig
from pipeline.io.sources import SlideInput, printable
from pipeline.run.grouping import known_group
from pipeline.run.job import SlideJob


def jobs_of(slides: Sequence[SlideInput], common: SlideJob) -> list[SlideJob]:
    """Make one job a slide, in the same order.

    Parameters
    ----------
    common
        What all slides of the run share.
    """
    return [_job(slide, common) for slide in slides]


def _job(slide: SlideInput, common: SlideJob) -> SlideJob:
    job = replace(
        common,
        slide_id=slide.slide_id,
        path=slide.location,
        name=printable(slide.relative),
        config=_own_settings(common.config, slide),
        group=slide.group or None,
    )
    if slide.group is None:  # nothing is said today: what an earlier run was told stands
        return replace(job, group=known_group(job.folder))
    return job


def _own_settings(config: RunConfig, slide: SlideInput) -> RunConfig:
    """What a manifest says of a slide overrides the settings of the run for it alone."""
    if slide.mpp is not None:
        own = config.slides.model_copy(update={"mpp": slide.mpp})
        config = config.model_copy(update={"slides": own})
    if slide.roi is not None:
        region = config.roi.model_copy(update={"file": slide.roi})
        config = config.model_copy(update={"roi": region})
    return config
