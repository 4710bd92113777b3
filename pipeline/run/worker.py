"""The three kinds of task by name; what they need is imported on the worker, not by the driver."""

from typing import Any

from pipeline.run.job import SlideJob
from pipeline.run.stages import StageClock

# torch and the slide libraries take seconds and 200 MB, which the driver never needs


def prepare_slide(job: SlideJob) -> dict[str, Any]:
    """See :func:`pipeline.run.prepare.prepare_slide`."""
    from pipeline.run import prepare

    clock = StageClock()
    with clock.stage("prepare"):
        result = prepare.prepare_slide(job)
    return {**result, "seconds": clock.seconds}


def process_region(job: SlideJob, index: int) -> dict[str, Any]:
    """See :func:`pipeline.run.region.process_region`."""
    from pipeline.run import region

    return region.process_region(job, index)


def finalise_slide(job: SlideJob) -> dict[str, Any]:
    """See :func:`pipeline.run.finalise.finalise_slide`."""
    from pipeline.run import finalise

    clock = StageClock()
    with clock.stage("finalise"):
        result = finalise.finalise_slide(job)
    return {**result, "seconds": clock.seconds}
