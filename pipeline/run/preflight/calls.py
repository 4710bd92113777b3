"""What is asked of a child process, by name; the libraries it needs are imported there alone."""

from typing import Any

from pipeline.run.job import SlideJob


def look(job: SlideJob, read_all: bool) -> Any:
    """See :func:`pipeline.run.preflight.looking.look`."""
    from pipeline.run.preflight import looking

    return looking.look(job, read_all)


def try_tiles(job: SlideJob, workers: int) -> Any:
    """See :func:`pipeline.run.preflight.trial.try_tiles`."""
    from pipeline.run.preflight import trial

    return trial.try_tiles(job, workers)
