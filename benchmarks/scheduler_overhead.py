"""CPU time of driver and scheduler for one region task, with regions that do nothing.

    .venv/bin/python benchmarks/scheduler_overhead.py --regions 2000

Prints a table: the driver's own process (it holds the scheduler of a local cluster too), with the
real job in every task. Plan, window, placement, keys and book-keeping are the run's own; only what
a region would compute is left out.
"""

import argparse
import tempfile
import time
from typing import Any

import psutil

from pipeline.config import load_config
from pipeline.core.frame import PlaneFrame
from pipeline.run import flight
from pipeline.run.clusters import connect
from pipeline.run.clusters.versions import decisive_versions
from pipeline.run.driver import Driver
from pipeline.run.job import SlideJob
from pipeline.run.plan import Plan, SlideFacts, utc_now, work_folder, write_plan
from pipeline.run.slide import SlideProgress
from pipeline.run.stop import StopRequest

TARGET_MS = 2.0
BARE_TASKS = 300


def plan_nothing(*_: object) -> dict[str, Any]:
    """Stand for prepare: the plan was written beforehand."""
    return {"state": "planned"}


def do_nothing(*_: object) -> dict[str, Any]:
    """Stand for a region."""
    return {"tiles": 4, "unreadable": 0, "peaks": 0, "new": True}


def end_nothing(*_: object) -> dict[str, Any]:
    """Stand for finalise."""
    return {"state": "scored"}


def nobody_listens(*_: object) -> None:
    """Stand for records and progress."""


def planned(job: SlideJob, regions: int) -> None:
    """Write a plan of so many regions, in one row."""
    side = 2048
    frame = PlaneFrame(0, 0, 2.0, 2.0, side * regions, side)
    facts = SlideFacts(
        "slide", "0", "none", None, side, side, (0, 0, side, side), (0.25, 0.25), "none", None
    )
    work = work_folder(job.folder)
    work.mkdir(parents=True)
    write_plan(work, Plan(
        key={}, slide=facts, frame=frame, overview=frame, picture=frame, tissue_um_per_px=8.0,
        tissue_mm2=1.0, mpp_um=0.5, core_px=1024, halo_px=128, region_tiles=2, window=13,
        floor=0.1, tiles=4 * regions, squares=64 * regions,
        regions=tuple(range(regions)), started=utc_now(),
    ))  # fmt: skip


def measure(regions: int, slides: int, workers: int, ahead: int) -> tuple[float, float, float]:
    """Drive all regions; CPU seconds of this process, wall-clock seconds, its growth in MB."""
    import scheduler_overhead as own  # by this name the workers find the functions too

    flight._CALLS.update(prepare=own.plan_nothing, region=own.do_nothing, finalise=own.end_nothing)
    config = load_config(
        None,
        [
            f"cluster.{name}"
            for name in (f"workers={workers}", f"window_per_worker={ahead}", "dashboard=false")
        ],
    )
    with tempfile.TemporaryDirectory() as out, connect(config.cluster) as client:
        jobs = [
            SlideJob(
                f"slide-{number:08d}", "slide.tif", "slide.tif", out, config, "/models/default",
                "0" * 64, "20260101T000000Z-0000", versions=decisive_versions(),
            )
            for number in range(slides)
        ]  # fmt: skip
        for job in jobs:
            planned(job, regions // slides)
        progress = [SlideProgress(job, position) for position, job in enumerate(jobs)]
        client.wait_for_workers(workers)
        cpu, wall = time.process_time(), time.perf_counter()
        before = psutil.Process().memory_info().rss
        Driver(
            client,
            progress,
            config.cluster,
            stop=StopRequest(),
            finished=nobody_listens,
            emit=nobody_listens,
        ).run()
        grown_mb = (psutil.Process().memory_info().rss - before) / 1e6
        return time.process_time() - cpu, time.perf_counter() - wall, grown_mb


def dask_alone(workers: int) -> float:
    """CPU milliseconds of one bare ``submit`` and its ``result``: what no driver can undercut."""
    settings = load_config(None, [f"cluster.workers={workers}", "cluster.dashboard=false"]).cluster
    with connect(settings) as client:
        client.wait_for_workers(workers)
        cpu = time.process_time()
        for number in range(BARE_TASKS):
            client.submit(abs, number, pure=False).result()
        return 1000 * (time.process_time() - cpu) / BARE_TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=2000)
    parser.add_argument("--slides", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--window", type=int, default=8, help="of the run: window_per_worker")
    given = parser.parse_args()
    cpu, wall, grown_mb = measure(given.regions, given.slides, given.workers, given.window)
    print("| region tasks | slides | workers | window | CPU ms a task | wall ms a task | memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    each = (1000 * cpu / given.regions, 1000 * wall / given.regions)
    print(
        f"| {given.regions} | {given.slides} | {given.workers} | {given.window} "
        f"| {each[0]:.2f} | {each[1]:.2f} | {grown_mb:+.0f} MB |\n"
        f"\ntarget: at most {TARGET_MS} ms of CPU a task"
    )
    print(f"dask alone, one submit and its result: {dask_alone(given.workers):.2f} ms of CPU")


if __name__ == "__main__":
    main()
