"""Watching a run: the board, its page and routes on the loopback address."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from pipeline.config import RunConfig
from pipeline.run.events import Event
from pipeline.run.watching.board import ProgressBoard
from pipeline.run.watching.server import Page, quiet_bokeh, served

logger = logging.getLogger(__name__)

Tell = Callable[[Event], None]


@contextmanager
def watched(config: RunConfig, tell: Tell) -> Iterator[Tell]:
    """Yield where a run's events go: to ``tell``, and to a page while the body runs.

    The driver serves the page itself, so it is the same for every kind of cluster and lives on
    when a scheduler is lost. A run is never harmed by it: without a port it goes on unwatched.
    With ``cluster.dashboard = false`` no port is opened.
    """
    if not config.cluster.dashboard:
        yield tell
        return
    board = ProgressBoard(named=config.watching.names)
    with ExitStack() as stack:
        try:
            quiet_bokeh()
            page = stack.enter_context(
                served(board, port=config.watching.port, origins=config.watching.origins)
            )
        except OSError as error:
            logger.info("the page of progress", exc_info=error)
            tell(Event("notice", message="the page of progress could not be opened"))
            yield tell
            return
        yield _Both(board, tell, page).tell
        board.end()


class _Both:
    """Feeds the board, then whoever asked; the start of the run names the page."""

    def __init__(self, board: ProgressBoard, tell: Tell, page: Page) -> None:
        self._board, self._tell, self._page = board, tell, page

    def tell(self, event: Event) -> None:
        try:
            self._board.tell(event)
        except Exception as error:
            logger.info("the board of progress", exc_info=error)
        if event.kind == "run_started":
            self._page.begin()
            event = replace(event, message=self._page.link)
        self._tell(event)
