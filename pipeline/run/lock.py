"""One run at a time in an output folder: a lock with an owner and a heartbeat.

Where the file system knows ``flock`` the kernel keeps others out and drops the lock with its
owner. Where it does not, or not across hosts, the file itself is the lock: made exclusively, and
renewed by its owner, so that whoever watches it with a clock of its own sees whether the owner
lives. Times of two machines are never compared.
"""

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.errors import LockedError, OutputError
from pipeline.run.lock_owner import RECORD_BYTES, LockOwner, seconds_since_boot

logger = logging.getLogger(__name__)

LOCK_NAME = ".lock"

HEARTBEAT_S = 5.0
"""How often an owner renews its lock."""

STALE_S = 60.0
"""Twelve heartbeats: a lock of another machine that was not renewed for so long is taken over."""

UNSIGNED_S = 10.0
"""A lock file without a name is signed at once, or its owner was killed before it could."""

_NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTSUP})
_WATCH_S = 0.5
_mine: set[str] = set()
"""Tokens of the locks that this process holds."""


class HeldLock:
    """A lock that is held; a thread renews it.

    Attributes
    ----------
    taken
        Whether the lock was found to be somebody else's: this run slept for so long, or the file
        was deleted. It must stop.
    """

    def __init__(self, path: Path, handle: int, owner: LockOwner) -> None:
        self._path, self._handle, self._owner = path, handle, owner
        self._ended = threading.Event()
        self._tell: Callable[[str], None] | None = None
        self.taken = False
        self._thread = threading.Thread(target=self._renew, name="lock heartbeat", daemon=True)

    def when_taken(self, tell: Callable[[str], None]) -> None:
        """Call ``tell`` with one line, in another thread, if the lock is lost."""
        self._tell = tell

    def start(self) -> None:
        """Sign the file and begin to renew it."""
        self._sign()
        _mine.add(self._owner.token)
        self._thread.start()

    def end(self) -> None:
        """Stop renewing, and remove the file if it is still this lock's."""
        self._ended.set()
        self._thread.join()
        _mine.discard(self._owner.token)
        if self._is_mine():
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _renew(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                if not self._is_mine():
                    self._lost()
                    return
                self._owner = replace(
                    self._owner, beat=self._owner.beat + 1, beat_boot_s=seconds_since_boot()
                )
                self._sign()
            except OSError as error:  # a file server that is away for a while
                logger.info("the lock could not be renewed: %s", error.strerror)

    def _sign(self) -> None:
        # in place and of one length: it needs no new block, so a full disk does not end it
        os.pwrite(self._handle, self._owner.written(), 0)
        os.fsync(self._handle)

    def _is_mine(self) -> bool:
        try:
            owner = LockOwner.read(self._path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return False
        return owner is not None and owner.token == self._owner.token

    def _lost(self) -> None:
        self.taken = True
        if self._tell is not None:
            self._tell(f"{self._path.parent}: the lock file was deleted or taken over meanwhile")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[HeldLock]:
    """Hold ``out/.lock`` while the body runs.

    A lock is taken over at once when its owner is proven dead: on this machine since the same
    boot, no process has its number and start; or this machine was started again since. Another
    machine's lock is watched for a minute and taken over only if it was not renewed by then.

    Raises
    ------
    LockedError
        Another run holds the folder; the message names it.
    OutputError
        The folder cannot be written.
    """
    handle = _acquire(out / LOCK_NAME)
    try:
        lock = HeldLock(out / LOCK_NAME, handle, LockOwner.this_process(secrets.token_hex(8)))
        try:
            lock.start()
        except OSError as error:
            (out / LOCK_NAME).unlink(missing_ok=True)
            raise OutputError(f"{out}: cannot be written ({error.strerror})") from error
        try:
            yield lock
        finally:
            lock.end()
    finally:
        os.close(handle)


def lock_owner(out: Path) -> LockOwner | None:
    """Return who holds a folder, or held it and was killed; None where nobody does."""
    try:
        return LockOwner.read((out / LOCK_NAME).read_bytes())
    except OSError:
        return None


def _acquire(path: Path) -> int:
    """Open the lock file as its only owner; the handle keeps it."""
    while True:
        handle, new = _opened(path)
        try:
            if _claimed(path, handle, new=new):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _opened(path: Path) -> tuple[int, bool]:
    for flags, new in ((os.O_CREAT | os.O_EXCL, True), (os.O_CREAT, False)):
        try:
            return os.open(path, flags | os.O_RDWR | os.O_CLOEXEC, 0o644), new
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be written ({error.strerror})") from error
    raise OutputError(f"{path}: cannot be opened; delete it and run again")


def _claimed(path: Path, handle: int, *, new: bool) -> bool:
    """Whether the file is this process's now; False where it has to be opened again."""
    flocked = _flocked(path, handle)
    if not _is_at(path, handle):
        return False  # its owner deleted it between our open and our lock
    if new:
        return True
    content = os.pread(handle, RECORD_BYTES, 0)
    owner = LockOwner.read(content)
    if owner is None or not _is_dead(owner, flocked=flocked):
        _watch(path, handle, content, owner)
    return flocked or _moved_away(path, content)


def _flocked(path: Path, handle: int) -> bool:
    """Whether the kernel keeps others out now; False where it cannot."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            raise _refusal(path, LockOwner.read(os.pread(handle, RECORD_BYTES, 0))) from error
        if error.errno not in _NO_FLOCK:
            raise OutputError(f"{path}: cannot be locked ({error.strerror})") from error
        return False
    return True


def _is_dead(owner: LockOwner, *, flocked: bool) -> bool:
    if owner.is_this_process:
        return owner.token not in _mine
    # one kernel, and its lock was granted: whoever held it, in whichever container, is gone
    return owner.is_dead or (flocked and owner.is_here and not owner.is_in_reach)


def _watch(path: Path, handle: int, content: bytes, owner: LockOwner | None) -> None:
    """Return when the file was not renewed for ``STALE_S`` of this process's own clock."""
    if owner is not None and owner.is_in_reach:
        raise _refusal(path, owner)  # its process lives
    who = "a run that left no name" if owner is None else owner.words()
    lasts_s = UNSIGNED_S if owner is None else STALE_S
    logger.warning("%s: held by %s; watching its heartbeat, %.0f s", path.parent, who, lasts_s)
    ends = time.monotonic() + lasts_s
    while time.monotonic() < ends:
        time.sleep(_WATCH_S)
        now = os.pread(handle, RECORD_BYTES, 0)
        if now != content or not _is_at(path, handle):
            raise _refusal(path, LockOwner.read(now) or owner, alive=True)


def _moved_away(path: Path, content: bytes) -> bool:
    """Without the kernel's help: put a dead lock aside, in one step, and then make a new one."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.rename(aside)
        if aside.read_bytes() != content:  # somebody took it over first: it is theirs
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            raise _refusal(path, LockOwner.read(content))
    except FileNotFoundError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return False


def _is_at(path: Path, handle: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def _refusal(path: Path, owner: LockOwner | None, *, alive: bool = False) -> LockedError:
    who = "a run that left no name yet" if owner is None else owner.words()
    beat = "; its heartbeat is moving" if alive else ""
    return LockedError(
        f"{path.parent}: another run holds it ({who}{beat}); wait for it or use another folder"
    )
