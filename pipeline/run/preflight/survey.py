"""All slides of a run looked at before it: what will be done, what will fail, what it will cost."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import OutputError, PipelineError
from pipeline.io.sources import SlideInput, discover
from pipeline.model.card import load_card
from pipeline.model.signed import check_signed
from pipeline.model.zoo import resolve_model
from pipeline.run.clusters.devices import find_devices
from pipeline.run.clusters.factory import load_factory
from pipeline.run.clusters.local import local_workers
from pipeline.run.figures import stored_calibration
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.jobs import jobs_of
from pipeline.run.preflight.calls import look, try_tiles
from pipeline.run.preflight.costs import Costs, costs_of_runs, free_bytes, mean_costs
from pipeline.run.preflight.isolated import ChildError, in_children
from pipeline.run.preflight.outlook import Outlook
from pipeline.run.region_of_interest import absolute_files

NOWHERE = "preflight-without-output"
"""Stands for the output folder where none is given; it is never made."""

TRIAL_S = 600.0
MOST_TRIALS = 4
"""Trials at the same time: workers share memory and caches, so one alone is faster than each."""
CHILD_BYTES = 6 << 30
"""Address space of a child that looks at slides: far above what a sound slide needs."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a run of these inputs would be.

    Attributes
    ----------
    slides
        In the order of the run.
    expected_s, expected_bytes
        None where nothing could be measured.
    free_bytes
        Where the output goes, or in this folder where none is given.
    source
        How time and disk were found, in words.
    """

    slides: tuple[Outlook, ...]
    expected_s: float | None
    expected_bytes: int | None
    free_bytes: int
    source: str
    notices: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Slides by verdict."""
        return dict(Counter(slide.verdict for slide in self.slides))

    @property
    def will_fail(self) -> bool:
        """Whether the run would end with a failure that is not known yet."""
        return any(slide.verdict == "will fail" for slide in self.slides)


def survey(
    inputs: Sequence[str | Path],
    config: RunConfig,
    *,
    out: Path | None = None,
    retry_failed: bool = False,
    read_all: bool = False,
    trial: bool = True,
    seen: Callable[[Outlook, int], None] | None = None,
) -> Survey:
    """Look at every slide as a run would; write nothing but in a private temporary folder.

    Parameters
    ----------
    out
        Output folder of the run; it is only read.
    read_all
        Read every tile, which finds damage inside slides and takes long.
    trial
        Predict a few tiles for the time and the disk needed, where no earlier run says them.
    seen
        Told each slide and how many there are.

    Raises
    ------
    ConfigError, ModelError
        The run would not start.
    OutputError
        The output folder cannot be read.
    """
    config = absolute_files(config)
    slides = discover(inputs, config.inputs)
    common = _job_of_all(config, out, retry_failed=retry_failed)
    jobs = jobs_of(slides, common)
    looked = list(_look_at_all(jobs, slides, read_all, seen))
    if any(slide.verdict in ("predict", "go on", "score again") for slide in looked):
        _check_workers(config)
    costs, notices = _costs(jobs, looked, common, trial=trial)
    place = out or Path()
    free = free_bytes(place)
    if costs is None:
        return Survey(tuple(looked), None, None, free, "not measured", tuple(notices))
    looked = [_with_costs(slide, costs) for slide in looked]
    size = sum(slide.expected_bytes or 0 for slide in looked)
    if size > free:
        notices.append(
            f"the disk will be full: {size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; "
            "free some or choose another --out"
        )
    seconds = sum(slide.expected_s or 0.0 for slide in looked)
    return Survey(tuple(looked), seconds, size, free, costs.source, tuple(notices))


def _job_of_all(config: RunConfig, out: Path | None, *, retry_failed: bool) -> SlideJob:
    """What a run makes sure of before it starts."""
    folder = resolve_model(config.prediction.model)
    card = load_card(folder)
    card.check_slides_allowed()
    weights_sha256 = check_signed(folder, card)
    threshold = CellRule.of(config, card).threshold
    stored_calibration(config, weights_sha256=weights_sha256, threshold=threshold)
    return SlideJob(
        slide_id="",
        path="",
        name="",
        out=str((out or Path(NOWHERE)).resolve()),
        config=config,
        model_folder=str(folder),
        weights_sha256=weights_sha256,
        run_id="preflight",
        retry_failed=retry_failed,
    )


def _check_workers(config: RunConfig) -> None:
    """Refuse what a run would refuse as it starts workers of its own.

    Raises
    ------
    ConfigError
        There is no such device on this machine, or no such function.
    """
    if config.cluster.chosen == "local" and config.prediction.device == "cuda":
        find_devices()
    if config.cluster.chosen == "factory":
        load_factory(config.cluster.factory)


def _look_at_all(
    jobs: Sequence[SlideJob],
    slides: Sequence[SlideInput],
    read_all: bool,
    seen: Callable[[Outlook, int], None] | None,
) -> Iterator[Outlook]:
    settings = jobs[0].config.cluster
    put_off = [_put_off(job, slide) for job, slide in zip(jobs, slides, strict=True)]
    answers = in_children(
        ((look, (job, read_all)) for job, later in zip(jobs, put_off, strict=True) if not later),
        workers=run_workers(jobs[0].config, most=len(jobs)),
        timeout_s=settings.task_timeout_s,
        memory_bytes=CHILD_BYTES,
    )
    for job, later in zip(jobs, put_off, strict=True):
        found = later or _told(job, next(answers))
        if seen is not None:
            seen(found, len(jobs))
        yield found


def _put_off(job: SlideJob, slide: SlideInput) -> Outlook | None:
    if slide.deferred:
        return Outlook(job.slide_id, job.name, "deferred", slide.deferred)
    if slide.skipped:
        return Outlook(job.slide_id, job.name, "skipped", slide.skipped)
    return None


def _told(job: SlideJob, answer: object) -> Outlook:
    if isinstance(answer, Outlook):
        return answer
    if isinstance(answer, ChildError):
        name = Path(job.name).name
        reason = f"{name}: {answer}; copy the slide again, or leave it out with --exclude"
        return Outlook(job.slide_id, job.name, "will fail", reason)
    if isinstance(answer, BaseException):
        raise answer  # of the run, not of the slide
    raise TypeError(f"{job.name}: no outlook but {type(answer).__name__}")


def run_workers(config: RunConfig, *, most: int = 1 << 30) -> int:
    """Workers of the run, as far as the settings and this machine tell."""
    return max(1, min(local_workers(config.cluster), most))


def _costs(
    jobs: Sequence[SlideJob], looked: Sequence[Outlook], common: SlideJob, *, trial: bool
) -> tuple[Costs | None, list[str]]:
    notices = []
    try:
        if (known := costs_of_runs(common)) is not None:
            return known, []
    except OutputError as error:
        notices.append(str(error))
    todo = [
        (slide.tiles_left, -place)
        for place, slide in enumerate(looked)
        if slide.tiles_left and slide.verdict in ("predict", "go on")
    ]
    if not todo or not trial:
        return None, notices
    job, workers = jobs[-max(todo)[1]], run_workers(common.config)
    together = min(workers, MOST_TRIALS)
    calls = [(try_tiles, (job, workers))] * together
    answers = list(in_children(calls, workers=together, timeout_s=TRIAL_S))
    costs = [answer for answer in answers if isinstance(answer, Costs)]
    if len(costs) == together:
        return mean_costs(costs), notices
    problem = next(answer for answer in answers if not isinstance(answer, Costs))
    kind = "" if isinstance(problem, PipelineError) else f"{type(problem).__name__}: "
    notices.append(f"time and disk could not be measured: {kind}{problem}")
    return None, notices


def _with_costs(slide: Outlook, costs: Costs) -> Outlook:
    """Seconds of the whole run's workers, and bytes, that are to come for a slide."""
    if slide.verdict not in ("predict", "go on"):
        return replace(slide, expected_s=0.0, expected_bytes=0)
    tiles = slide.tiles_left or 0
    shared = costs.workers or 1
    own_s = 0.0 if not costs.workers else slide.look_s + costs.slide_s
    return replace(
        slide,
        expected_s=round((tiles * costs.tile_s + own_s) / shared, 2),
        expected_bytes=round((slide.tiles or 0) * costs.tile_bytes + costs.slide_bytes),
    )
