"""Dask's own pages of a cluster of ours, opened once its workers have something to do.

Bokeh takes a third of a second to import, and dask imports it before it starts a worker.
"""

import logging
from functools import partial
from threading import Thread
from typing import Any

from distributed import SpecCluster

LOG = logging.getLogger(__name__)


def open_pages(cluster: SpecCluster) -> None:
    """Let a scheduler that was started without them show its pages; return while they are made."""
    Thread(target=partial(_open, cluster), name="ki67-pages", daemon=True).start()


def _open(cluster: SpecCluster) -> None:
    scheduler: Any = cluster.scheduler
    try:
        from distributed.dashboard.scheduler import connect

        application, server = scheduler.http_application, scheduler.http_server
        scheduler.loop.add_callback(connect, application, server, scheduler)
    except Exception as error:
        # a run without these pages is a run
        LOG.info("dask's pages", exc_info=error)
