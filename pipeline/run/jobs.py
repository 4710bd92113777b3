"""The jobs of a run, made from the slides that were found: each with its own settings."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.config import RunConfig
from pipeline.io.sources import SlideInput
from pipeline.run.job import SlideJob


def jobs_of(slides: Sequence[SlideInput], common: SlideJob) -> list[SlideJob]:
    """Make one job a slide, in the same order.

    Parameters
    ----------
    common
        What all slides of the run share.
    """
    return [
        replace(
            common,
            slide_id=slide.slide_id,
            path=slide.location,
            name=slide.relative,
            config=_own_settings(common.config, slide),
            group=slide.group or None,
        )
        for slide in slides
    ]


def _own_settings(config: RunConfig, slide: SlideInput) -> RunConfig:
    """What a manifest says of a slide overrides the settings of the run for it alone."""
    if slide.mpp is not None:
        own = config.slides.model_copy(update={"mpp": slide.mpp})
        config = config.model_copy(update={"slides": own})
    if slide.roi is not None:
        region = config.roi.model_copy(update={"file": slide.roi})
        config = config.model_copy(update={"roi": region})
    return config
