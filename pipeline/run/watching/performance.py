"""dask's performance report of a run, on request; what goes wrong with it harms nothing."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client

from pipeline.io.files import make_folder, write_text_atomic

logger = logging.getLogger(__name__)

WAIT_S = 60


def report_path(out: Path, run_id: str) -> Path:
    """Where the report of a run goes."""
    return out / "runs" / f"{run_id}.performance.html"


@contextmanager
def performance_reported(
    client: Client, path: Path | None, notice: Callable[[str], None]
) -> Iterator[None]:
    """Write the report after the body, also of a run that was stopped; None writes none.

    The page needs nothing from a network.
    """
    begun = None if path is None else _begin(client, notice)
    try:
        yield
    finally:
        if path is not None and begun is not None and client.status == "running":
            try:
                _write(client, path, *begun)
            except Exception as error:
                logger.info("performance report", exc_info=error)
                notice(f"no performance report: {type(error).__name__}")


def _begin(client: Client, notice: Callable[[str], None]) -> tuple[float, int] | None:
    try:
        count = int(client.run_on_scheduler(_monitor_count))
        client.get_task_stream(start=0, stop=0)  # the scheduler keeps one from now on
    except Exception as error:
        logger.info("performance report", exc_info=error)
        notice(f"no performance report: {type(error).__name__}")
        return None
    return time.time(), count


def _write(client: Client, path: Path, start: float, count: int) -> None:
    page = client.sync(_asked, client, start, count, callback_timeout=WAIT_S)
    make_folder(path.parent)
    write_text_atomic(path, str(page))


async def _asked(client: Client, start: float, count: int) -> Any:
    scheduler: Any = client.scheduler
    return await scheduler.performance_report(
        start=start, last_count=count, code="ki67 run", mode="inline"
    )


def _monitor_count(dask_scheduler: Any) -> int:
    return int(dask_scheduler.monitor.count)
