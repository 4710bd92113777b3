"""Serves the board on the loopback address from a thread of the driver."""

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from pipeline.run.watching.board import ProgressBoard
from pipeline.run.watching.routes import METRICS_PATH, PROGRESS_PATH, MetricsRoute, ProgressRoute

if TYPE_CHECKING:
    from bokeh.server.server import BaseServer

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PAGE_PATH = "/slides"
STOP_S = 10.0
PATIENCE_S = 2.0
"""The page's library takes a third of a second: the workers of a run need not wait for it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is served.

    Attributes
    ----------
    link
        Its address, open at once; who asks is answered as soon as the page's library is imported.
    begin
        Begins with it now rather than a little later.
    """

    link: str
    begin: Callable[[], None]


@contextmanager
def served(board: ProgressBoard, *, port: int, origins: Sequence[str] = ()) -> Iterator[Page]:
    """Serve while the body runs.

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
    opened = _bound(port)
    thread = _ServerThread(board, opened, origins)
    thread.start()
    try:
        yield Page(f"http://{LOOPBACK}:{thread.port}{PAGE_PATH}", thread.due.set)
    finally:
        thread.stop()


class _ServerThread(threading.Thread):
    """One event loop with the page and its routes."""

    def __init__(self, board: ProgressBoard, opened: socket.socket, origins: Sequence[str]) -> None:
        super().__init__(name="ki67-watching", daemon=True)
        self._board, self._socket, self._origins = board, opened, tuple(origins)
        self.port: int = opened.getsockname()[1]
        self.due, self._stopped = threading.Event(), threading.Event()
        self._loop: IOLoop | None = None

    def run(self) -> None:
        """Serve until stopped."""
        self.due.wait(PATIENCE_S)
        if self._stopped.is_set():
            self._socket.close()
            return
        try:
            asyncio.run(self._serve())
        except Exception as error:
            # the run goes on: its events are told all the same
            logger.info("the page of progress could not be served", exc_info=error)
            self._socket.close()

    def stop(self) -> None:
        """Close the port and wait for the thread."""
        self._stopped.set()
        self.due.set()
        if self._loop is not None and self.is_alive():
            self._loop.add_callback(self._over.set)
        self.join(STOP_S)

    async def _serve(self) -> None:
        server, self._over = self._opened(), asyncio.Event()
        self._loop = IOLoop.current()
        server.start()
        if not self._stopped.is_set():
            await self._over.wait()
        server.stop(wait=False)
        await server._http.close_all_connections()

    def _opened(self) -> "BaseServer":
        from bokeh.application import Application
        from bokeh.application.handlers.function import FunctionHandler
        from bokeh.server.server import BaseServer
        from bokeh.server.tornado import BokehTornado

        from pipeline.run.watching.page import fill_document

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
        http.add_socket(self._socket)
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
