"""A run over an archive: discover, drive, record; the files are the truth, so it can resume."""

import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, InterruptedRunError, ModelError, OutputError
from pipeline.io.files import make_folder
from pipeline.io.results import SCORE_NAME, read_score
from pipeline.io.score import ScoreRecord
from pipeline.io.sources import discover
from pipeline.io.staging import settle_all
from pipeline.model.card import ModelCard, load_card
from pipeline.model.zoo import resolve_model
from pipeline.run.clusters import connect
from pipeline.run.driver import Driver
from pipeline.run.events import Event, Outcome, RunSummary, SlideName, SlideRecord
from pipeline.run.failure import record_failure
from pipeline.run.figures import stored_calibration
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.jobs import jobs_of
from pipeline.run.lock import locked
from pipeline.run.quarantine import drop_record
from pipeline.run.records import RunRecords
from pipeline.run.region_of_interest import absolute_files
from pipeline.run.setbacks import SchedulerLostError
from pipeline.run.slide import SlideProgress
from pipeline.run.space import check_space
from pipeline.run.stop import StopRequest, stop_on_signals
from pipeline.run.tries import check_there, clear_tries, remove_tries
from pipeline.run.watching import watched
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
    folder = resolve_model(config.prediction.model)
    card = load_card(folder)
    card.check_tiles_allowed()
    if not card.weights_sha256:
        raise ModelError(f"{folder}: the card has no weights_sha256; save the checkpoint again")
    threshold = CellRule.of(config, card).threshold
    stored_calibration(config, weights_sha256=card.weights_sha256, threshold=threshold)
    make_folder(out)
    out = out.resolve()
    with locked(out) as lock, stop_on_signals() as stop:
        lock.when_taken(stop.ask)
        check_space(out, 0, what="a run")
        settle_all(out)
        clear_tries(out)
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        common = SlideJob(
            slide_id="",
            path="",
            name="",
            out=str(out),
            config=config,
            model_folder=str(folder),
            weights_sha256=card.weights_sha256,
            run_id=run_id,
            retry_failed=retry_failed,
        )
        jobs = jobs_of(slides, common)
        with watched(config, on_event or _ignore) as emit:
            return _Archive(jobs, out, config, card, stop, emit).run(report)


class _Archive:
    """One run: its slides, what became of them, whom to tell."""

    def __init__(
        self,
        jobs: Sequence[SlideJob],
        out: Path,
        config: RunConfig,
        card: ModelCard,
        stop: StopRequest,
        emit: Callable[[Event], None],
    ) -> None:
        self._slides = [SlideProgress(job, position) for position, job in enumerate(jobs)]
        self._ended: dict[int, SlideRecord] = {}
        self._out, self._config, self._card = out, config, card
        self._stop, self._emit = stop, emit
        self._records = RunRecords(out, config, card, jobs)
        asked = config.watching.performance_report
        self._performance = report_path(out, self._records.run_id) if asked else None

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
        for notice in self._records.publish(report):
            self._emit(Event("notice", message=notice))
        return RunSummary(self._records.run_id, self._in_order())

    def _drive(self) -> None:
        """Drive all slides to their end; a lost scheduler costs the tasks under way only."""
        losses = 0
        while True:
            try:
                device = self._config.prediction.device
                with (
                    connect(self._config.cluster, device=device) as client,
                    performance_reported(client, self._performance, self._notice),
                ):
                    link = str(client.dashboard_link) if self._config.cluster.dashboard else ""
                    self._emit(self._opening(link))
                    Driver(
                        client,
                        self._slides,
                        self._config.cluster,
                        stop=self._stop,
                        finished=self._finished,
                        emit=self._emit,
                    ).run()
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

    def _opening(self, link: str) -> Event:
        jobs = [slide.job for slide in self._slides]
        names = tuple(SlideName(job.slide_id, job.name, job.path) for job in jobs)
        run_id = self._records.run_id
        return Event("run_started", total=len(jobs), message=link, run_id=run_id, slides=names)

    def _notice(self, message: str) -> None:
        self._emit(Event("notice", message=message))

    def _finished(self, slide: SlideProgress, state: str) -> None:
        """Keep the record of one slide, write the table, tell."""
        check_there(self._out)
        outcome, score = self._outcome(slide, state)
        slide_id = slide.job.slide_id
        record = SlideRecord(slide_id, slide.job.name, outcome, score, slide.seconds)
        self._ended[slide.position] = record
        self._records.add(record)
        logger.info(
            "%s: %s, %s cells, %.1f s",
            slide_id,
            outcome,
            score.counts.total,
            slide.seconds,
        )
        done, total = len(self._ended), len(self._slides)
        self._emit(Event("slide_done", slide_id, done, total, score.reason or "", record))

    def _outcome(self, slide: SlideProgress, state: str) -> tuple[Outcome, ScoreRecord]:
        if slide.failure is not None:
            return "failed", record_failure(
                slide.job,
                self._card,
                slide.failure,
                retry_next_run=slide.retry_next_run,
            )
        drop_record(slide.job)
        score = read_score(slide.job.folder / SCORE_NAME)
        if state != "done":
            return "scored", score
        return "failed_before" if score.status == "failed" else "already_done", score

    def _in_order(self) -> tuple[SlideRecord, ...]:
        return tuple(self._ended[position] for position in sorted(self._ended))


def _ignore(event: Event) -> None:
    """Nobody asked."""
