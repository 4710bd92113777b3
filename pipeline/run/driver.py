"""The driver: a bounded window of tasks, slides in order, one bad slide never stops the others."""

import errno
import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.comm.core import CommClosedError

from pipeline.config import ClusterSettings
from pipeline.errors import (
    ConfigError,
    InterruptedRunError,
    ModelError,
    OutputError,
    SlideChangedError,
    SlideError,
)
from pipeline.run import worker
from pipeline.run.cluster import worker_count
from pipeline.run.events import Event, EventKind, Work
from pipeline.run.plan import (
    StaleWorkError,
    UnreachableSlideError,
    missing_regions,
    read_plan,
    work_folder,
)
from pipeline.run.slide import Phase, SlideProgress, Task
from pipeline.run.stop import StopRequest

logger = logging.getLogger(__name__)

GRACE_S = 30.0
"""Time the tasks under way get to end after a request to stop."""

NO_WORKER_S = 300.0
"""How long a run waits for a cluster without workers."""

_POLL_S = 0.5
_WORKERS_EVERY_S = 2.0
_GATHER_S = 60

# planning and finalising are few and let slides end one after another
_PRIORITY = {"finalise": 2, "prepare": 1, "region": 0}
_CALLS: dict[str, Callable[..., object]] = {
    "prepare": worker.prepare_slide,
    "region": worker.process_region,
    "finalise": worker.finalise_slide,
}
_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_PASSING_ERRNOS = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR})


class SchedulerLostError(Exception):
    """The scheduler went away with all futures; the files say what is left to do."""


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
        self._flying: dict[Future[Any], Task] = {}
        self._arrived: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._suspects: deque[Task] = deque()
        self._workers, self._workers_asked, self._workers_seen = 1, 0.0, time.monotonic()
        self._workers_told = -1

    def run(self) -> None:
        """Work until every slide is done or has failed.

        Raises
        ------
        InterruptedRunError
            The run was asked to stop, or the cluster has no workers.
        SchedulerLostError
            All futures are gone.
        OutputError, ModelError, ConfigError
            No slide could go on.
        """
        while True:
            if self._stop.requested:
                self._emit(Event("notice", message="stopping; once more to stop at once"))
                self._drain()
                raise InterruptedRunError("stopped on request; run the same command to go on")
            self._fill()
            if not self._flying:
                return
            self._await_one(_POLL_S)

    def _fill(self) -> None:
        """Send what the window allows: regions of the first slides, then plans of the next."""
        if self._suspects:
            # a task that lost its worker goes alone, so that nothing else takes the blame again
            if not self._flying:
                task = self._suspects.popleft()
                self._slides[task.slide].held -= 1
                self._send(task)
            return
        workers = self._count_workers()
        window = self._settings.window_per_worker * workers
        regions = sum(task.kind == "region" for task in self._flying.values())
        ahead = 0
        for slide in self._open:
            if slide.phase is Phase.READY:
                slide.phase = Phase.FINALISING
                self._tell(slide, "slide_finalising")
                self._send(Task("finalise", slide.position))
            elif slide.phase is Phase.REGIONS:
                ahead += slide.flying == 0
                while slide.pending and regions < window:
                    self._send(Task("region", slide.position, slide.pending.popleft()))
                    regions += 1
            elif slide.phase is Phase.PREPARING:
                ahead += 1
            elif slide.phase is Phase.WAITING and ahead < (1 if regions >= window else workers):
                slide.begin()
                self._tell(slide, "slide_preparing")
                self._send(Task("prepare", slide.position))
                ahead += 1
            elif slide.phase is Phase.WAITING:
                return

    def _send(self, task: Task) -> None:
        slide = self._slides[task.slide]
        arguments = (slide.job, task.index) if task.kind == "region" else (slide.job,)
        # the hash part of the id: a file's name may carry a patient's
        name = slide.job.slide_id.rsplit("-", 1)[-1]
        future = self._client.submit(
            _CALLS[task.kind],
            *arguments,
            key=(task.kind, name, task.index, task.attempt, slide.plans, slide.job.run_id),
            priority=_PRIORITY[task.kind],
            pure=False,
        )
        slide.flying += 1
        self._flying[future] = task
        future.add_done_callback(self._arrived.put)

    def _await_one(self, timeout_s: float) -> None:
        try:
            future = self._arrived.get(timeout=timeout_s)
        except queue.Empty:
            if self._client.status not in ("running", "connecting"):
                raise SchedulerLostError from None
            self._check_workers()
            return
        task = self._flying.pop(future)
        slide = self._slides[task.slide]
        slide.flying -= 1
        self._settle(slide, task, future)
        if slide.failure is not None and slide.idle:
            self._close(slide)

    def _settle(self, slide: SlideProgress, task: Task, future: Future[Any]) -> None:
        if future.status in ("cancelled", "lost"):
            raise SchedulerLostError
        try:
            result = future.result(timeout=_GATHER_S)
        except CancelledError as error:
            raise SchedulerLostError from error
        except KilledWorker:
            self._killed(slide, task)
        except (CommClosedError, TimeoutError):
            self._retry(slide, task, "the connection to a worker broke")
        except (SlideChangedError, StaleWorkError) as error:
            self._plan_anew(slide, error)
        except SlideError as error:
            passing = isinstance(error, UnreachableSlideError)
            slide.fail(str(error), retry_next_run=passing)
        except (OutputError, ModelError, ConfigError):
            raise
        except OSError as error:
            self._system_error(slide, task, error)
        except Exception as error:  # whatever a slide can do to a library is that slide's failure
            logger.info("%s: %s", slide.job.slide_id, task, exc_info=error)
            slide.fail(f"{task}: {type(error).__name__}: {_first_line(error)}")
        else:
            self._advance(slide, task, result)

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
            reason = str(result.get("reason", ""))
            self._tell(slide, "slide_started", reason, Work.of(result))

    def _close(self, slide: SlideProgress, state: str = "failed") -> None:
        slide.phase = Phase.DONE
        self._open.remove(slide)
        self._finished(slide, state)

    def _killed(self, slide: SlideProgress, task: Task) -> None:
        if task.attempt >= self._settings.retries:
            slide.fail(f"worker killed repeatedly ({task})", retry_next_run=True)
        elif slide.failure is None:
            slide.held += 1
            self._suspects.append(task.again())

    def _retry(self, slide: SlideProgress, task: Task, reason: str) -> None:
        if task.attempt >= self._settings.retries:
            slide.fail(f"{task}: {reason} {task.attempt + 1} times", retry_next_run=True)
        elif slide.failure is None:
            self._send(task.again())

    def _plan_anew(self, slide: SlideProgress, error: SlideError) -> None:
        if slide.plans >= self._settings.retries or not slide.idle:
            slide.fail(str(error), retry_next_run=True)
        else:
            slide.plan_anew()

    def _system_error(self, slide: SlideProgress, task: Task, error: OSError) -> None:
        if error.errno in _DISK_ERRNOS:
            raise OutputError(f"{slide.job.out}: {error.strerror}; free space and run again")
        if error.errno in _PASSING_ERRNOS:
            self._retry(slide, task, str(error.strerror))
        else:
            slide.fail(f"{task}: {type(error).__name__}: {_first_line(error)}")

    def _drain(self) -> None:
        """Let the tasks under way end within the grace period; what ends is kept."""
        ends = time.monotonic() + GRACE_S
        while self._flying and (left := ends - time.monotonic()) > 0:
            self._await_one(min(left, _POLL_S))

    def _count_workers(self) -> int:
        if time.monotonic() - self._workers_asked > _WORKERS_EVERY_S:
            self._workers_asked = time.monotonic()
            self._tell_workers(worker_count(self._client))
        return self._workers

    def _tell_workers(self, number: int) -> None:
        if number != self._workers_told:
            self._emit(Event("workers", done=number))
        self._workers_told, self._workers = number, max(1, number)

    def _check_workers(self) -> None:
        """A dead worker of an own cluster is replaced within seconds; a remote one may not be."""
        if worker_count(self._client):
            self._workers_seen = time.monotonic()
        elif time.monotonic() - self._workers_seen > NO_WORKER_S:
            raise InterruptedRunError(
                f"the cluster has had no worker for {NO_WORKER_S:.0f} s; start one and run again"
            )

    def _tell(
        self, slide: SlideProgress, kind: EventKind, message: str = "", work: Work | None = None
    ) -> None:
        self._emit(Event(kind, slide.job.slide_id, slide.done, slide.total, message, work=work))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no message"
