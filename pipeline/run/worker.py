"""The three kinds of task by name; what they need is imported on the worker, not by the driver."""

from typing import Any

from pipeline.run.clusters.admission import admitted, device_here
from pipeline.run.job import SlideJob
from pipeline.run.memory import give_back
from pipeline.run.stages import StageClock
from pipeline.run.travelling import travelling
from pipeline.run.tries import tried

# torch and the slide libraries take seconds and 200 MB, which the driver never needs


def prepare_slide(job: SlideJob, attempt: int = 0) -> dict[str, Any]:
    """See :func:`pipeline.run.prepare.prepare_slide`."""
    from pipeline.run import prepare

    clock = StageClock()
    job = admitted(job)
    with travelling("prepare"), tried(job, "prepare", attempt), clock.stage("prepare"):
        result = prepare.prepare_slide(job)
        give_back()
    return {**result, "seconds": clock.seconds}


def process_region(job: SlideJob, attempt: int, index: int) -> dict[str, Any]:
    """See :func:`pipeline.run.region.process_region`."""
    from pipeline.run import region

    job = admitted(job)
    task = f"region {index}"
    with travelling(task), tried(job, task, attempt), device_here():
        return region.process_region(job, index)


def finalise_slide(job: SlideJob, attempt: int = 0) -> dict[str, Any]:
    """See :func:`pipeline.run.finalise.finalise_slide`."""
    from pipeline.run import finalise

    clock = StageClock()
    job = admitted(job)
    with travelling("finalise"), tried(job, "finalise", attempt), clock.stage("finalise"):
        give_back()
        result = finalise.finalise_slide(job)
        give_back()
    return {**result, "seconds": clock.seconds}
