"""Serves the board on the loopback address from a thread of the driver."""

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from pipeline.run.watching.board import ProgressBoard
from pipeline.run.watching.page import fill_document
from pipeline.run.watching.routes import METRICS_PATH, PROGRESS_PATH, MetricsRoute, ProgressRoute

LOOPBACK = "127.0.0.1"
PAGE_PATH = "/slides"
START_S = 30.0
STOP_S = 10.0


@contextmanager
def served(board: ProgressBoard, *, port: int, origins: Sequence[str] = ()) -> Iterator[str]:
    """Serve while the body runs; yield the address of the page.

    Parameters
    ----------
    port
        Taken by another program: any free one is used.
    origins
        ``host`` or ``host:port`` of a reverse proxy, besides this machine's own names.

    Raises
    ------
    OSError
        No port could be opened.
    """
    thread = _ServerThread(board, port, origins)
    thread.start()
    try:
        if not thread.ready.wait(START_S) or thread.failure is not None:
            raise OSError(f"the page of progress could not be served: {thread.failure}")
        yield f"http://{LOOPBACK}:{thread.port}{PAGE_PATH}"
    finally:
        thread.stop()


class _ServerThread(threading.Thread):
    """One event loop with the page and its routes."""

    def __init__(self, board: ProgressBoard, port: int, origins: Sequence[str]) -> None:
        super().__init__(name="ki67-watching", daemon=True)
        self._board, self.port, self._origins = board, port, tuple(origins)
        self.ready = threading.Event()
        self.failure: Exception | None = None
        self._loop: IOLoop | None = None

    def run(self) -> None:
        """Serve until stopped."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Close the port and wait for the thread."""
        if self._loop is not None and self.is_alive():
            self._loop.add_callback(self._over.set)
        self.join(STOP_S)

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        self._loop = IOLoop.current()
        try:
            server = self._opened()
        except Exception as error:  # noqa: BLE001 - told to the thread that waits
            self.failure = error
            self.ready.set()
            return
        server.start()
        self.ready.set()
        await self._over.wait()
        server.stop(wait=False)
        await server._http.close_all_connections()

    def _opened(self) -> BaseServer:
        opened = _bound(self.port)
        self.port = opened.getsockname()[1]
        hosts = [f"{name}:{self.port}" for name in (LOOPBACK, "localhost")]
        hosts += [*self._origins, *(f"{h}:80" for h in self._origins if ":" not in h)]
        shared = {"board": self._board, "hosts": hosts}
        pages = Application(FunctionHandler(partial(fill_document, board=self._board)))
        tornado = BokehTornado(
            {PAGE_PATH: pages},
            extra_websocket_origins=hosts,
            extra_patterns=[
                (PROGRESS_PATH, ProgressRoute, shared),
                (METRICS_PATH, MetricsRoute, shared),
            ],
            absolute_url=None,
            log_function=_quiet,
        )
        http = HTTPServer(tornado)
        http.add_socket(opened)
        return BaseServer(IOLoop.current(), tornado, http)


def _bound(port: int) -> socket.socket:
    try:
        opened = socket.create_server((LOOPBACK, port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        opened = socket.create_server((LOOPBACK, 0))
    opened.setblocking(False)
    return opened


def _quiet(_route: object) -> None:
    """Requests are not worth a line."""


def quiet_bokeh() -> None:
    """Leave the page's own library out of the run's log."""
    for name in ("bokeh", "tornado.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
