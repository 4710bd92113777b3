"""Where the tasks of a slide find it, and what it was when it was planned."""

from pipeline.io.open_slides import SlidePlace
from pipeline.run.job import SlideJob
from pipeline.run.plan import read_work, work_folder


def place_of(job: SlideJob) -> SlidePlace:
    """Where the slide of a job is; once it is planned, as what it was planned."""
    work = work_folder(job.folder)
    begun = read_work(work)
    members = {} if begun is None else begun.members
    return SlidePlace(job.path, job.config.inputs, members, work)
