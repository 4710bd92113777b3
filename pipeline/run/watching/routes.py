"""The plain addresses beside the page: progress as JSON, metrics for Prometheus."""

import json
from collections.abc import Sequence

from tornado.web import HTTPError, RequestHandler

from pipeline.run.watching.board import ProgressBoard

PROGRESS_PATH = "/slides/progress.json"
METRICS_PATH = "/metrics"
MOST_ROWS = 1000


class _OwnHostRoute(RequestHandler):
    """Answers only who asked for this machine by name.

    A page of the internet can point a name of its own at the loopback address and read what is
    served there; its name then stands in the request.
    """

    def initialize(self, board: ProgressBoard, hosts: Sequence[str]) -> None:
        """Take what the routes share."""
        self.board, self.hosts = board, hosts

    def prepare(self) -> None:
        """Refuse other hosts."""
        if self.request.host not in self.hosts:
            raise HTTPError(403, reason="host not allowed; see watching.origins")

    def set_default_headers(self) -> None:
        """Keep nothing, guess nothing."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")


class ProgressRoute(_OwnHostRoute):
    """The progress of the run; with ``offset`` and ``limit`` rows of all slides too."""

    def get(self) -> None:
        """Answer with the object of the progress file."""
        answer = self.board.as_json()
        if "offset" in self.request.arguments or "limit" in self.request.arguments:
            offset, limit = self._number("offset", 0), self._number("limit", MOST_ROWS)
            answer["rows"], _ = self.board.rows(offset=offset, limit=min(limit, MOST_ROWS))
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(json.dumps(answer, allow_nan=False))

    def _number(self, name: str, default: int) -> int:
        text = self.get_query_argument(name, str(default))
        if not text.isascii() or not text.isdigit():
            raise HTTPError(400, reason=f"{name} must be a whole number")
        return int(text)


class MetricsRoute(_OwnHostRoute):
    """The sums of the run in Prometheus' text format."""

    def get(self) -> None:
        """Answer with the metrics, or with what is missing for them."""
        try:
            from pipeline.run.watching.metrics import CONTENT_TYPE, exposition
        except ModuleNotFoundError:
            self.set_status(501)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.write("prometheus_client is not installed: pip install 'ki67-pipeline[watch]'\n")
            return
        self.set_header("Content-Type", CONTENT_TYPE)
        self.write(exposition(self.board))
