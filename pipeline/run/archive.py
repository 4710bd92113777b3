"""A run over an archive: discover, drive, record; the files are the truth, so it can resume."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from distributed import Client

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, InterruptedRunError, OutputError
from pipeline.io.remote import shown
from pipeline.io.results import SCORE_NAME, read_score
from pipeline.io.score import ScoreRecord
from pipeline.io.scratch import sweep
from pipeline.io.sources import SlideInput, discover
from pipeline.run.arriving import SetAside, put_off
from pipeline.run.clusters import connect
from pipeline.run.clusters.inspection import inspect_pool
from pipeline.run.driver import Driver
from pipeline.run.events import Event, Outcome, RunSummary, SlideName, SlideRecord
from pipeline.run.failure import record_failure
from pipeline.run.grouping import grouped
from pipeline.run.job import SlideJob
from pipeline.run.jobs import jobs_of
from pipeline.run.opened import OpenedFolder, opened
from pipeline.run.quarantine import drop_record
from pipeline.run.records import RunRecords
from pipeline.run.refused import last_refusal
from pipeline.run.region_of_interest import absolute_files
from pipeline.run.setbacks import SchedulerLostError
from pipeline.run.slide import Phase, SlideProgress
from pipeline.run.tries import check_there, clear_tries, remove_tries
from pipeline.run.watching.performance import performance_reported, report_path

logger = logging.getLogger(__name__)

BACK_OFF_S = 5.0
"""First pause before a lost scheduler is looked for again; it doubles."""


class BatchStoppedError(InterruptedRunError):
    """The output folder gave out on the way: the run stopped, and no slide is blamed."""


def run_archive(
    inputs: Sequence[str | Path],
    out: Path,
    config: RunConfig,
    *,
    on_event: Callable[[Event], None] | None = None,
    report: Callable[[Path], object] | None = None,
    retry_failed: bool = False,
) -> RunSummary:
    """Score every slide of the inputs that is not done yet.

    Parameters
    ----------
    inputs
        Files, folders, globs.
    out
        Output folder; made if missing. Results in it of the same slide, model and settings are
        kept.
    on_event
        Called in this thread with every step.
    report
        Called with ``out`` at the end, when every score is written; what it raises is told as a
        notice.
    retry_failed
        Try slides again whose failure is known.

    Raises
    ------
    ConfigError, ModelError
        The settings, the inputs or the model cannot be used; nothing was started.
    LockedError
        Another run holds ``out``.
    OutputError
        ``out`` cannot be written; nothing was started.
    BatchStoppedError
        ``out`` could not be written any more; what is done is kept.
    InterruptedRunError
        Stopped on request, or the cluster is gone; the same call goes on from there.
    """
    config = absolute_files(config)
    slides = discover(inputs, config.inputs)
    with opened(out, config, on_event=on_event, retry_failed=retry_failed) as folder:
        return run_slides(slides, folder, report)


def run_slides(
    slides: Sequence[SlideInput],
    folder: OpenedFolder,
    report: Callable[[Path], object] | None = None,
) -> RunSummary:
    """Score slides that were found, as one run of a folder that is held; as ``run_archive``."""
    jobs = jobs_of(slides, folder.next_run())
    aside = SetAside.of(list(slides), folder.config.inputs.settle_s)
    return _Archive(jobs, folder, aside).run(report)


class _Archive:
    """One run: its slides, what became of them, whom to tell."""

    def __init__(self, jobs: Sequence[SlideJob], folder: OpenedFolder, aside: SetAside) -> None:
        self._slides = [
            SlideProgress(job, place, Phase.DONE if aside.holds(job) else Phase.WAITING)
            for place, job in enumerate(jobs)
        ]
        self._aside = aside
        self._ended: dict[int, SlideRecord] = {}
        self._out, self._config, self._card = folder.out, folder.config, folder.card
        self._stop, self._emit = folder.stop, folder.emit
        self._records = RunRecords(self._out, self._config, self._card, jobs)
        asked = self._config.watching.performance_report
        self._performance = report_path(self._out, self._records.run_id) if asked else None

    def run(self, report: Callable[[Path], object] | None) -> RunSummary:
        status = "failed"
        try:
            self._records.begin()
            self._drive()
            status = "finished"
        except InterruptedRunError:
            status = "interrupted"
            raise
        except OutputError as error:
            raise BatchStoppedError(str(error)) from error
        finally:
            with suppress(OutputError):  # a full disk has been told of already
                check_there(self._out)
                self._records.end(status, self._in_order())
            remove_tries(self._out)
            sweep(self._config.inputs)  # copies of remote slides whose workers are gone
        for notice in self._records.publish(report):
            self._emit(Event("notice", message=notice))
        return RunSummary(self._records.run_id, self._in_order())

    def _drive(self) -> None:
        """Drive all slides to their end; a lost scheduler costs the tasks under way only."""
        losses = 0
        if not self._waiting():
            self._emit(self._opening(""))
            if not self._turn_to_set_aside():
                return
        while True:
            try:
                device = self._config.prediction.device
                with (
                    connect(self._config.cluster, device=device) as client,
                    performance_reported(client, self._performance, self._notice),
                ):
                    link = str(client.dashboard_link) if self._config.cluster.dashboard else ""
                    self._emit(self._opening(link))
                    self._inspect(client)
                    self._driver(client).run()
                    if self._turn_to_set_aside():
                        self._driver(client).run()
                    return
            except (SchedulerLostError, ConfigError) as error:
                if isinstance(error, ConfigError) and not losses:
                    raise  # it was never there
                losses += 1
                if self._stop.requested:
                    raise InterruptedRunError(self._stop.words) from error
                if losses > self._config.cluster.retries:
                    raise InterruptedRunError(
                        f"the scheduler was lost {losses} times; run the same command to go on"
                    ) from error
                self._emit(Event("notice", message="the scheduler was lost; connecting again"))
                self._stop.wait(BACK_OFF_S * 2 ** (losses - 1))
                clear_tries(self._out)
                for slide in self._slides:
                    slide.connection_lost()

    def _driver(self, client: Client) -> Driver:
        return Driver(
            client,
            self._slides,
            self._config.cluster,
            stop=self._stop,
            finished=self._finished,
            emit=self._emit,
        )

    def _waiting(self) -> bool:
        return any(slide.phase is Phase.WAITING for slide in self._slides)

    def _turn_to_set_aside(self) -> bool:
        """End what is left out, look again at what was arriving; tell if some is to be driven."""
        if notice := self._aside.notice:
            self._notice(notice)
        self._aside.wait(self._stop)
        for slide in self._slides:
            if self._aside.holds(slide.job):
                ended = self._aside.turn_to(slide.job)
                if ended is None:
                    slide.phase = Phase.WAITING
                else:
                    self._tell(slide, *ended)
        return self._waiting()

    def _opening(self, link: str) -> Event:
        jobs = [slide.job for slide in self._slides]
        names = tuple(SlideName(job.slide_id, job.name, shown(job.path)) for job in jobs)
        run_id = self._records.run_id
        return Event("run_started", total=len(jobs), message=link, run_id=run_id, slides=names)

    def _notice(self, message: str) -> None:
        self._emit(Event("notice", message=message))

    def _inspect(self, client: Client) -> None:
        jobs = [slide.job for slide in self._slides]
        asked = self._stop
        for notice in inspect_pool(
            client, self._config.cluster, jobs, stopped=lambda: asked.requested
        ):
            self._emit(Event("notice", message=notice))

    def _finished(self, slide: SlideProgress, state: str) -> None:
        """Keep the record of one slide, write the table, tell."""
        check_there(self._out)
        self._tell(slide, *self._outcome(slide, state))

    def _tell(self, slide: SlideProgress, outcome: Outcome, score: ScoreRecord) -> None:
        slide_id = slide.job.slide_id
        record = SlideRecord(slide_id, slide.job.name, outcome, score, slide.seconds)
        self._ended[slide.position] = record
        self._records.add(record)
        logger.info(
            "%s: %s, %s cells, %.1f s", slide_id, outcome, score.counts.total, slide.seconds
        )
        done, total = len(self._ended), len(self._slides)
        self._emit(Event("slide_done", slide_id, done, total, score.reason or "", record))

    def _outcome(self, slide: SlideProgress, state: str) -> tuple[Outcome, ScoreRecord]:
        if slide.failure is not None and self._aside.changed_meanwhile(slide.job):
            reason = f"changed while it was read, it may still be arriving ({slide.failure})"
            return "deferred", put_off(slide.job, "deferred", reason)
        if slide.failure is not None:
            return "failed", record_failure(
                slide.job, self._card, slide.failure, retry_next_run=slide.retry_next_run
            )
        drop_record(slide.job)
        folder = slide.job.folder
        if state == "refused":
            reason = last_refusal(folder)
            return "failed_before", record_failure(
                slide.job, self._card, reason, retry_next_run=False
            )
        score = grouped(folder, read_score(folder / SCORE_NAME), slide.job.group)
        if state != "done":
            return "scored", score
        return "failed_before" if score.status == "failed" else "already_done", score

    def _in_order(self) -> tuple[SlideRecord, ...]:
        return tuple(self._ended[position] for position in sorted(self._ended))
