"""Servers on loopback for the tests of remote slides: S3's protocol, and the web with its moods."""

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import fsspec

BUCKET = "archive"


class WebServer:
    """Serves objects from memory; can be stopped and started again at the same address."""

    def __init__(self, *, ranges: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.ranges = ranges
        self.refusals: list[int] = []
        """Answers to the next requests, in the place of what they ask for."""
        self.sent_bytes = 0
        self.copied = 0
        """Times an object was asked for as a whole."""
        self.requests = 0
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    def url(self, name: str, query: str = "") -> str:
        return f"http://127.0.0.1:{self._port}/{name}{query}"

    def start(self) -> None:
        owner = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                _answer(self, owner)

            def do_HEAD(self) -> None:
                _answer(self, owner)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Keep quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is none of ours."""

        self._server = Server(("127.0.0.1", self._port), Answer)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def up(self) -> bool:
        return self._server is not None


def _answer(request: BaseHTTPRequestHandler, owner: WebServer) -> None:
    owner.requests += 1
    if not owner.up:  # a connection that was kept open
        request.close_connection = True
        request.connection.close()
        return
    name = unquote(urlsplit(request.path).path).lstrip("/")
    if owner.refusals:
        _send(request, owner, owner.refusals.pop(0), b"", {})
    elif name.endswith("/") or not name:
        inside = {key[len(name) :].partition("/") for key in owner.objects if key.startswith(name)}
        links = "".join(f'<a href="{top}{slash}">{top}</a>' for top, slash, _ in sorted(inside))
        _send(request, owner, 200, links.encode(), {"Content-Type": "text/html"})
    elif any(key.startswith(f"{name}/") for key in owner.objects):
        _send(request, owner, 301, b"", {"Location": f"/{name}/"})
    elif name not in owner.objects:
        _send(request, owner, 404, b"", {})
    else:
        _send_object(request, owner, owner.objects[name])


def _send_object(request: BaseHTTPRequestHandler, owner: WebServer, body: bytes) -> None:
    headers = {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
    owner.copied += request.command == "GET" and "Range" not in request.headers
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if not owner.ranges or asked is None:
        _send(request, owner, 200, body, headers)
        return
    start, end = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
    whole = f"{start}-{end}/{len(body)}" if start < len(body) else f"*/{len(body)}"
    status = 206 if start < len(body) else 416
    part = body[start : end + 1] if status == 206 else b""
    _send(request, owner, status, part, headers | {"Content-Range": f"bytes {whole}"})


def _send(
    request: BaseHTTPRequestHandler,
    owner: WebServer,
    status: int,
    body: bytes,
    headers: dict[str, str],
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        owner.sent_bytes += len(body)
        request.wfile.write(body)


@contextmanager
def web_server(*, ranges: bool = True) -> Iterator[WebServer]:
    """A web server for the time of the block."""
    server = WebServer(ranges=ranges)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def s3_server() -> Iterator[Any]:
    """An S3 server with one bucket, and the environment that leads to it: an fsspec file system."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    # the objects are the process's, not the server's: those of a server before are there still
    urlopen(Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")).close()
    ours = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "very-secret-key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with patch.dict(os.environ, ours):
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            store = fsspec.filesystem("s3", use_listings_cache=False)
            store.mkdir(BUCKET)
            yield store
    finally:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        server.stop()
