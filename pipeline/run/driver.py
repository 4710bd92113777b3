"""The driver: a bounded window of tasks, slides in order, one bad slide never stops the others."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.errors import InterruptedRunError
from pipeline.run.clusters.admission import ForeignWorkerError
from pipeline.run.clusters.local import NOT_STARTED
from pipeline.run.clusters.pool import Roster
from pipeline.run.events import Event, EventKind, Work
from pipeline.run.flight import Flight, Landing
from pipeline.run.plan import StaleWorkError, missing_regions, read_plan, work_folder
from pipeline.run.quarantine import Ending, device_fault, ending_of, keep_record, verdict_on
from pipeline.run.setbacks import Meaning, Setback, judge
from pipeline.run.slide import Phase, SlideProgress, Task
from pipeline.run.space import check_space, slide_bytes
from pipeline.run.stop import StopRequest
from pipeline.run.tries import read_tries
from pipeline.run.window import Window

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_WORKERS_EVERY_S = 2.0


class Driver:
    """Sends the tasks of all slides through one client.

    Parameters
    ----------
    finished
        Called once for each slide that is done or has failed, in the order they end.
    """

    def __init__(
        self,
        client: Client,
        slides: Sequence[SlideProgress],
        settings: ClusterSettings,
        *,
        stop: StopRequest,
        finished: Callable[[SlideProgress, str], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._client = client
        self._slides = slides
        self._open = [slide for slide in slides if slide.phase is not Phase.DONE]
        self._settings = settings
        self._stop = stop
        self._finished = finished
        self._emit = emit
        self._flight = Flight(client)
        self._suspects: deque[Task] = deque()
        self._trying: Task | None = None
        self._window = Window(settings.window_per_worker)
        self._roster = Roster(client)
        self._pool = self._roster.look()
        self._workers_asked, self._workers_seen = 0.0, time.monotonic()
        self._workers_told, self._workers_most = -1, self._pool.predicting
        self._refused: list[str] = []

    def run(self) -> None:
        """Work until every slide is done or has failed.

        Raises
        ------
        InterruptedRunError
            The run was asked to stop, the cluster has no workers, or none can do the work.
        SchedulerLostError
            All futures are gone.
        OutputError, ModelError, ConfigError
            No slide could go on.
        """
        while True:
            if self._stop.requested and self._open:
                self._emit(Event("notice", message="stopping; once more to stop at once"))
                self._drain()
                raise InterruptedRunError(self._stop.words)
            self._fill()
            if not self._flight:
                return
            self._await_some(_POLL_S)

    def _fill(self) -> None:
        """Send what the window allows: regions of the first slides, then plans of the next."""
        self._try_suspect()
        workers = self._count_workers()
        room = self._window.room(workers, self._flight.regions)
        under_way = sum(slide.phase is not Phase.WAITING for slide in self._open)
        # a worker of its own for plans and ends works on slides before and after the predicted ones
        most = max(2, workers + 2 * self._pool.mixed)
        for slide in self._open:
            if slide.phase is Phase.READY:
                slide.phase = Phase.FINALISING
                self._tell(slide, "slide_finalising")
                self._send(Task("finalise", slide.position))
            elif slide.phase is Phase.REGIONS and room and slide.pending and not slide.held:
                indexes = [slide.pending.popleft() for _ in range(min(room, len(slide.pending)))]
                self._send(*(Task("region", slide.position, index) for index in indexes))
                room -= len(indexes)
            elif slide.phase is Phase.WAITING:
                if under_way >= most:
                    return
                slide.begin()
                self._tell(slide, "slide_preparing")
                self._send(Task("prepare", slide.position))
                under_way += 1

    def _try_suspect(self) -> None:
        """Send one task that lost its worker; no second one, and nothing else of its slide.

        Marks tell which task a worker died of, so the other slides go on meanwhile.
        """
        while self._suspects and self._trying is None:
            task = self._suspects.popleft()
            slide = self._slides[task.slide]
            if slide.failure is None:
                self._trying = task
                self._send(task)
                return
            slide.held -= 1
            if slide.idle:
                self._close(slide)

    def _send(self, *tasks: Task) -> None:
        slide = self._slides[tasks[0].slide]
        slide.flying += len(tasks)
        placement = self._pool.placement(tasks[0].kind)
        self._flight.send(tasks, slide.job, slide.plans, placement)

    def _await_some(self, timeout_s: float) -> None:
        landed = self._flight.landed(timeout_s)
        if not landed:
            self._check_workers()
            return
        self._window.ended(sum(landing.task.kind == "region" for landing in landed))
        for landing in landed:
            task = landing.task
            slide = self._slides[task.slide]
            slide.flying -= 1
            if task is self._trying:
                self._trying = None
                slide.held -= 1
            self._settle(slide, landing)
            if slide.failure is not None and slide.idle:
                self._close(slide)

    def _settle(self, slide: SlideProgress, landing: Landing) -> None:
        task, error = landing.task, landing.error
        if error is None:
            try:
                self._advance(slide, task, landing.result)
            except StaleWorkError as gone:  # what the task wrote is not there any more
                self._set_back(slide, task, judge(gone, str(task), slide.job.out))
        elif isinstance(error, ForeignWorkerError):
            self._refuse_worker(slide, task, error)
        else:  # whatever a slide can do to a library is that slide's failure
            logger.info("%s: %s", slide.job.slide_id, task, exc_info=error)
            self._set_back(slide, task, judge(error, str(task), slide.job.out))

    def _set_back(self, slide: SlideProgress, task: Task, setback: Setback) -> None:
        meaning, again = setback.meaning, task.attempt < self._settings.retries
        if slide.failure is not None:
            return
        if meaning is Meaning.WORKER_LOST:
            self._worker_lost(slide, task)
        elif meaning is Meaning.PASSING and again:
            self._send(task.again())
        elif meaning is Meaning.PASSING:
            reason = f"{task}: {setback.reason} {task.attempt + 1} times"
            slide.fail(reason, retry_next_run=True)
        elif meaning is Meaning.STALE and slide.plans < self._settings.retries and slide.idle:
            slide.plan_anew()
        else:
            slide.fail(setback.reason, retry_next_run=setback.retry_next_run)

    def _refuse_worker(self, slide: SlideProgress, task: Task, error: ForeignWorkerError) -> None:
        """Send a worker away that cannot do this work; the task goes to another while there is one.

        A pool of our own starts none in its place.
        """
        self._look_at_workers()  # it may have come this moment
        if error.address in self._pool.gpu | self._pool.cpu:
            self._emit(Event("notice", message=f"{error}; it gets no more work"))
            self._client.retire_workers([error.address], close_workers=True)
            self._look_at_workers()
            self._refused.append(error.reason)
        own = self._settings.chosen == "local"
        nobody = own and 0 < self._workers_most <= len(self._refused)
        if nobody or task.attempt >= self._settings.retries:
            raise InterruptedRunError(f"{error.reason}; then run the same command to go on")
        self._set_back(slide, task, Setback(Meaning.PASSING, error.reason))

    def _worker_lost(self, slide: SlideProgress, task: Task) -> None:
        """Try the task alone; set its slide aside when that was of no use."""
        job, tries = slide.job, read_tries(slide.job, str(task))
        ending = ending_of(tries[-1] if tries else None)
        allowed = self._settings.retries
        if ending is Ending.HUNG:
            allowed = min(1, allowed)
        elif ending is Ending.KILLED:  # from outside: where workers are preempted, often
            allowed = self._settings.allowed_failures
        if task.attempt < allowed:
            message = f"{job.name}: a worker {ending.value} in {task}; it is tried alone"
            self._emit(Event("notice", job.slide_id, message=message))
            slide.held += 1
            self._suspects.append(task.again())
            return
        if ending is Ending.DEVICE:
            raise InterruptedRunError(device_fault(job, str(task), tries))
        verdict = verdict_on(job, str(task), tries)
        keep_record(job, str(task), tries, verdict)
        slide.fail(verdict.reason, retry_next_run=verdict.retry_next_run)
        self._tell(slide, "quarantined", verdict.reason)

    def _advance(self, slide: SlideProgress, task: Task, result: dict[str, object]) -> None:
        if slide.failure is not None:
            return
        if task.kind == "region":
            slide.region_done()
            self._tell(slide, "region_done", work=Work.of(result))
        elif task.kind == "finalise" or result["state"] != "planned":
            if result.get("reason"):
                message = f"{slide.job.name}: {result['reason']}"
                self._emit(Event("notice", slide.job.slide_id, message=message))
            self._tell(slide, "task_done", work=Work.of(result))
            self._close(slide, str(result["state"]))
        else:
            work = work_folder(slide.job.folder)
            plan = read_plan(work)
            slide.planned(missing_regions(work, plan), len(plan.regions))
            slide.room_bytes = slide_bytes(plan, downsample=slide.job.config.heatmap.downsample)
            self._check_space(slide)
            reason = str(result.get("reason", ""))
            self._tell(slide, "slide_started", reason, Work.of(result))

    def _check_space(self, begun: SlideProgress) -> None:
        """Stop before a disk is full: this slide and those under way must fit."""
        needed = sum(slide.room_left_bytes for slide in self._open)
        check_space(Path(begun.job.out), needed, what=f"{begun.job.name} and slides under way")

    def _close(self, slide: SlideProgress, state: str = "failed") -> None:
        slide.phase = Phase.DONE
        self._open.remove(slide)
        self._finished(slide, state)

    def _drain(self) -> None:
        """Let the tasks under way end within the grace period; what ends is kept."""
        ends = time.monotonic() + self._settings.grace_s
        while self._flight and (left := ends - time.monotonic()) > 0:
            self._await_some(min(left, _POLL_S))

    def _count_workers(self) -> int:
        if time.monotonic() - self._workers_asked > _WORKERS_EVERY_S:
            self._workers_asked = time.monotonic()
            self._look_at_workers()
        return max(1, self._pool.predicting)

    def _look_at_workers(self) -> None:
        self._pool = self._roster.look()
        self._workers_most = max(self._workers_most, self._pool.predicting)
        if self._pool.predicting != self._workers_told:
            self._workers_told = self._pool.predicting
            self._emit(Event("workers", done=self._workers_told))

    def _check_workers(self) -> None:
        """A dead worker of an own cluster is replaced within seconds; a remote one may not be."""
        self._look_at_workers()
        if self._pool.predicting:
            self._workers_seen = time.monotonic()
        elif time.monotonic() - self._workers_seen > (limit_s := self._settings.worker_wait_s):
            own = self._settings.chosen == "local"
            remedy = NOT_STARTED if own else "start one and run again"
            if self._refused:
                remedy = f"{self._refused[-1]}; then run again"
            raise InterruptedRunError(f"the cluster has had no worker for {limit_s:g} s; {remedy}")

    def _tell(
        self, slide: SlideProgress, kind: EventKind, message: str = "", work: Work | None = None
    ) -> None:
        self._emit(Event(kind, slide.job.slide_id, slide.done, slide.total, message, work=work))
