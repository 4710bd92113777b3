"""Tasks under way: what dies with a worker after it was done, and before it was fetched."""

import os
import signal

import pytest

from pipeline.config import ClusterSettings, load_config
from pipeline.run import flight
from pipeline.run.clusters import connect
from pipeline.run.flight import Flight, Landing
from pipeline.run.job import SlideJob
from pipeline.run.slide import Task
from tests.processes import await_true


def tell_process(*_: object) -> dict[str, object]:
    """Stand for a task: says which process did it."""
    return {"pid": os.getpid()}


@pytest.mark.parametrize("tasks", [1, 3])
def test_results_that_die_with_their_worker_are_made_again_and_no_scheduler_is_called_lost(
    tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(flight._CALLS, "region", tell_process)
    job = SlideJob("a-1", "/a.tif", "a.tif", "/out", load_config(None), "m", "w", "r")
    with connect(ClusterSettings(workers=1, dashboard=False)) as client:
        under_way = Flight(client)
        under_way.send([Task("region", 0, number) for number in range(tasks)], job, 0, {})
        futures = list(under_way._flying)
        await_true(lambda: all(future.status == "finished" for future in futures))
        (died,) = client.run(os.getpid).values()
        os.kill(died, signal.SIGKILL)
        await_true(lambda: all(future.status == "lost" for future in futures))

        landed: list[Landing] = []

        def all_landed() -> bool:
            landed.extend(under_way.landed(1.0))
            return len(landed) == tasks

        await_true(all_landed)

    assert [landing.error for landing in landed] == [None] * tasks
    assert {landing.task.index for landing in landed} == set(range(tasks))
    assert died not in {landing.result["pid"] for landing in landed}
