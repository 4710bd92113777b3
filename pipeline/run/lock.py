"""One run at a time in an output folder."""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipeline.errors import LockedError, OutputError

LOCK_NAME = ".lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold ``out/.lock`` while the body runs.

    The kernel drops the lock with its owner, so a run that was killed on this host never blocks
    the next one. A file left by another host may belong to a run that lives, so it is respected.

    Raises
    ------
    LockedError
        Another run holds the folder; the message names it.
    OutputError
        The folder cannot be written.
    """
    stream = _acquire(out / LOCK_NAME)
    try:
        owner = _owner(stream)
        if owner and not _is_here(owner):
            raise LockedError(
                f"{out}: held by process {owner.get('pid')} on {owner.get('host')}; "
                f"if that run is dead, delete {LOCK_NAME}"
            )
        _sign(stream)
        try:
            yield
        finally:
            (out / LOCK_NAME).unlink(missing_ok=True)
    finally:
        stream.close()


def _acquire(path: Path) -> IO[str]:
    while True:
        try:
            stream = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(stream)
            stream.close()
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise LockedError(
                    f"{path.parent}: another run holds it (process {owner.get('pid', 'unknown')} "
                    f"on {owner.get('host', 'this host')}); wait for it or use another folder"
                ) from error
            raise OutputError(f"{path}: cannot be locked ({error.strerror})") from error
        # the owner before may have deleted the file between our open and our lock
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                return stream
        stream.close()


def _owner(stream: IO[str]) -> dict[str, str | int]:
    stream.seek(0)
    try:
        owner = json.loads(stream.read())
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_here(owner: dict[str, str | int]) -> bool:
    """Whether the owner ran under this kernel (another container) or on this host (rebooted)."""
    return owner.get("host") == socket.gethostname() or owner.get("boot_id") == _boot_id()


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else "unknown"


def _sign(stream: IO[str]) -> None:
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "boot_id": _boot_id()}
    try:
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps(owner))
        stream.flush()
    except OSError as error:
        raise OutputError(f"{LOCK_NAME}: cannot be written ({error.strerror})") from error
