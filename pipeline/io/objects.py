"""Objects behind URLs: their state, their bytes, their listing; a passing fault is waited out.

All stores are reached through fsspec, with credentials from where their clients look for them
(environment, profile, instance role), never from settings. One place decides on retries: those of
the clients are turned off, so that a dead server costs seconds and not their product.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import ConfigError, SlideChangedError, UnreachableSlideError
from pipeline.io.object_faults import fault_of
from pipeline.io.remote import is_web, shown

logger = logging.getLogger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits before a read is tried again."""

CHUNK_BYTES = 16 << 20
"""Read at once when a whole object is copied: what a broken connection costs."""

_CONNECT_S, _READ_S = 10.0, 30.0
_TALKATIVE = ("fsspec", "s3fs", "aiobotocore", "botocore", "aiohttp", "boto3", "urllib3")
_MARKS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "md5", "md5Hash")
_CACHES = ("simplecache", "filecache", "blockcache", "cached")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What a store says of an object.

    Attributes
    ----------
    size
        Bytes.
    mark
        ETag and time of the last change, as far as the store has them: another one, another
        content, or the same written again.
    ranges
        Whether parts can be read.
    """

    size: int
    mark: str
    ranges: bool = True


def state_of(url: str) -> ObjectState:
    """Ask for the state of an object.

    Raises
    ------
    UnreachableSlideError
        Missing, forbidden, or the store does not answer.
    ConfigError
        No library for this kind of URL.
    """
    store, path = connect(url)
    if is_web(url):
        found: ObjectState = persistently(url, lambda: _web_state(store, path))
    else:
        found = persistently(url, lambda: _stated(store.info(path)))
    if found.size < 0:
        raise UnreachableSlideError(
            f"{shown(url)}: the server does not say how large it is; copy it and name the copy"
        )
    return found


def read_range(url: str, start: int, end: int) -> bytes:
    """Read the bytes ``start`` to ``end`` (exclusive) of an object.

    Raises
    ------
    UnreachableSlideError
        See :func:`state_of`.
    SlideChangedError
        The object is shorter than that.
    """
    store, path = connect(url)
    if end <= start:
        return b""
    found: bytes = persistently(url, lambda: _part(store, path, start, end))
    if len(found) != end - start:
        raise SlideChangedError(
            f"{shown(url)}: gave {len(found):,} bytes where {end - start:,} were asked for: it "
            "changed, or its server knows no ranges; run again"
        )
    return found


def copy_object(url: str, state: ObjectState, target: Path) -> None:
    """Copy a whole object into a local file.

    Raises
    ------
    UnreachableSlideError
        See :func:`state_of`.
    SlideChangedError
        The object has another size than stated.
    OSError
        The local file cannot be written.
    """
    if not state.ranges:
        store, path = connect(url)
        persistently(url, lambda: store.get_file(path, str(target)))
        if (size := target.stat().st_size) != state.size:
            raise SlideChangedError(
                f"{shown(url)}: {size:,} bytes came where {state.size:,} were stated; run again"
            )
        return
    with target.open("wb") as file:
        for start in range(0, state.size, CHUNK_BYTES):
            file.write(read_range(url, start, min(start + CHUNK_BYTES, state.size)))


def connect(url: str) -> tuple[Any, str]:
    """Find the store of a URL and the path in it; nothing is sent yet.

    Raises
    ------
    ConfigError
        No library for this kind of URL, or one that keeps copies of its own.
    """
    import fsspec

    for name in _TALKATIVE:  # below warnings they tell URLs and headers, signatures included
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger(name).level))
    scheme = url.partition(":")[0].lower()
    if scheme in _CACHES:
        raise ConfigError(f"{shown(url)}: {scheme} would keep copies of its own; name the slide")
    try:
        return fsspec.core.url_to_fs(url, **_options(scheme))  # type: ignore[no-any-return]
    except ImportError as error:
        raise ConfigError(
            f'{shown(url)}: to read {scheme}:// run pip install "ki67-pipeline[remote]"'
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{shown(url)}: {scheme}:// is not known; use s3://, https://, file:// or a kind of "
            "URL that fsspec knows"
        ) from error


def persistently(url: str, attempt: Callable[[], T]) -> T:
    """Call until it works: faults that may pass are waited out, a few times.

    Raises
    ------
    PipelineError
        One line that names the remedy.
    """
    for pause_s in (*PAUSES_S, None):
        try:
            return attempt()
        except Exception as error:  # noqa: BLE001  each store's client has its own errors
            fault = fault_of(url, error)
        # raised out here: the client's error, which may hold a signature, is no context of ours
        if pause_s is None or not fault.passing:
            break
        logger.info("%s; trying again in %.1f s", fault.error, pause_s)
        time.sleep(pause_s)
    raise fault.error


def _options(scheme: str) -> dict[str, Any]:
    """What every connection is made with, above what the user's fsspec configuration says."""
    import fsspec

    stated = fsspec.config.conf.get(scheme, {})
    if scheme in ("s3", "s3a"):
        ours = {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _READ_S,
            "retries": {"total_max_attempts": 1},
        }
        return {
            "use_listings_cache": False,
            "config_kwargs": {**ours, **stated.get("config_kwargs", {})},
        }
    if scheme in ("http", "https"):
        import aiohttp

        wait = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)
        ours_too = {"timeout": wait, "trust_env": True, **stated.get("client_kwargs", {})}
        return {"use_listings_cache": False, "client_kwargs": ours_too}
    return {}


def _stated(entry: dict[str, Any]) -> ObjectState:
    if entry.get("type") == "directory":
        raise FileNotFoundError
    size = entry.get("size")
    said = [str(entry[name]) for name in _MARKS if entry.get(name) is not None]
    return ObjectState(-1 if size is None else int(size), " ".join(said))


def _part(store: Any, path: str, start: int, end: int) -> bytes:
    if hasattr(store, "retries"):
        store.retries = 1
    return bytes(store.cat_file(path, start=start, end=end))


def _web_state(store: Any, url: str) -> ObjectState:
    """Ask by reading one byte: HEAD is refused for URLs that are signed for GET."""
    from fsspec.asyn import sync

    return sync(store.loop, _probe, store, url)  # type: ignore[no-any-return]


async def _probe(store: Any, url: str) -> ObjectState:
    session = await store.set_session()
    headers = {**store.kwargs.get("headers", {}), "Range": "bytes=0-0"}
    headers["Accept-Encoding"] = "identity"
    more = {name: value for name, value in store.kwargs.items() if name != "headers"}
    async with session.get(store.encode_url(url), headers=headers, **more) as reply:
        whole = reply.headers.get("Content-Range", "").rpartition("/")[2]
        mark = " ".join(reply.headers.get(name, "") for name in ("ETag", "Last-Modified"))
        if reply.status == 416 and whole == "0":
            return ObjectState(0, mark)
        reply.raise_for_status()
        if reply.status == 206 and whole.isdigit():
            return ObjectState(int(whole), mark)
        size = reply.headers.get("Content-Length", "")
        return ObjectState(int(size) if size.isdigit() else -1, mark, ranges=False)
