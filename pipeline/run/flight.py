"""Tasks under way: sent many in a message, their results fetched many in a message."""

import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future

from pipeline.run import worker
from pipeline.run.job import SlideJob
from pipeline.run.setbacks import SchedulerLostError
from pipeline.run.slide import Task

logger = logging.getLogger(__name__)

_GATHER_S = 60
# regions take seconds; where they take less, many end in this time and share a message
_TOGETHER_S = 0.05

# planning and finalising are few and let slides end one after another
_PRIORITY = {"finalise": 2, "prepare": 1, "region": 0}
_CALLS: dict[str, Callable[..., object]] = {
    "prepare": worker.prepare_slide,
    "region": worker.process_region,
    "finalise": worker.finalise_slide,
}


@dataclass(frozen=True, slots=True)
class Landing:
    """One task that ended: its result, or the error it ended with."""

    task: Task
    result: dict[str, object] = field(default_factory=dict)
    error: Exception | None = None


class Flight:
    """What was sent through a client and is not back; as many as its length."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._flying: dict[Future[Any], Task] = {}
        self._arrived: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def regions(self) -> int:
        """Regions among them."""
        return sum(task.kind == "region" for task in self._flying.values())

    def send(
        self, tasks: Sequence[Task], job: SlideJob, plans: int, placement: Mapping[str, Any]
    ) -> None:
        """Send tasks of one kind and one slide in one message.

        Parameters
        ----------
        plans
            Times the slide was planned anew: a region of another plan is another task.
        placement
            Keywords of the client that say which workers may take them.
        """
        kind = tasks[0].kind
        # the hash part of the id: a file's name may carry a patient's
        name = job.slide_id.rsplit("-", 1)[-1]
        indexes = [[task.index for task in tasks]] if kind == "region" else []
        futures = self._client.map(
            _CALLS[kind],
            [job] * len(tasks),
            [task.attempt for task in tasks],
            *indexes,
            key=[(kind, name, task.index, task.attempt, plans, job.run_id) for task in tasks],
            priority=_PRIORITY[kind],
            pure=False,
            **placement,
        )
        self._flying.update(zip(futures, tasks, strict=True))
        self._await(futures)

    def landed(self, timeout_s: float) -> list[Landing]:
        """Take up the tasks that end within a moment of the first; none when the time is over.

        Raises
        ------
        SchedulerLostError
            All futures are gone.
        """
        try:
            arrived = [self._arrived.get(timeout=timeout_s)]
        except queue.Empty:
            if self._client.status not in ("running", "connecting"):
                raise SchedulerLostError from None
            return []
        ends = time.monotonic() + _TOGETHER_S
        while len(arrived) < len(self._flying) and (left := ends - time.monotonic()) > 0:
            try:
                arrived.append(self._arrived.get(timeout=left))
            except queue.Empty:
                break
        results = self._fetch([future for future in arrived if future.status == "finished"])
        # a worker that dies with results takes them along: dask has these tasks done again
        again = [f for f in arrived if f not in results and f.status in ("lost", "pending")]
        here = [future for future in arrived if future not in again]
        landings = [self._landing(future, results.get(future)) for future in here]
        self._in_loop(lambda: [future.release() for future in here])
        self._await(again)
        return landings

    def _landing(self, future: Future[Any], held: dict[str, object] | None) -> Landing:
        task = self._flying.pop(future)
        if held is not None:
            return Landing(task, held)
        if future.status == "cancelled":
            return Landing(task, error=SchedulerLostError())
        try:
            return Landing(task, future.result(timeout=_GATHER_S))
        except Exception as error:  # noqa: BLE001 - the driver judges it
            return Landing(task, error=error)

    def _fetch(self, futures: list[Future[Any]]) -> dict[Future[Any], dict[str, object]]:
        """Results in one message; none when one of them is no longer to be had."""
        if len(futures) < 2:
            return {}

        async def gather() -> list[dict[str, object]]:
            results: list[dict[str, object]] = await self._client.gather(futures, asynchronous=True)
            return results

        try:
            results = self._client.sync(gather, callback_timeout=_GATHER_S)
        except Exception as error:  # each then tells for itself what is the matter with it
            logger.info("%d results not fetched together", len(futures), exc_info=error)
            return {}
        return dict(zip(futures, results, strict=True))

    def _await(self, futures: Sequence[Future[Any]]) -> None:
        if futures:
            self._in_loop(lambda: [one.add_done_callback(self._arrived.put) for one in futures])

    def _in_loop(self, work: Callable[[], object]) -> None:
        """Do it in the client's own thread, which is then woken once and not for each future."""
        self._client.sync(_as_coroutine, work)


async def _as_coroutine(work: Callable[[], object]) -> None:
    work()
