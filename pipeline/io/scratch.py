"""Local copies of remote slides: one a host, shared by its processes, gone when nobody needs it.

A copy is held by a shared file lock, and whoever makes or removes it takes the lock alone. The
system gives up the locks of a process that dies, however it dies: a copy whose lock can be had
belongs to nobody, and the next one to come removes it. Nothing else keeps count.
"""

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import InputSettings
from pipeline.errors import ConfigError, SlideChangedError, UnreachableSlideError
from pipeline.io.objects import copy_object
from pipeline.io.remote import shown
from pipeline.io.remote_slides import RemoteSlide, look_up

logger = logging.getLogger(__name__)

WAIT_S = 900.0
"""Longest wait for room that other slides take."""

SPARE_BYTES = 64 << 20
"""Left free on the disk."""

_POLL_S = 0.5
_GB = 10**9
_WANTED_S = 5.0
_COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class StagedCopy:
    """A slide's copy, kept as long as this is not released."""

    path: Path
    _lock: "_Lock"

    def release(self) -> None:
        """Give it up; the last one removes it."""
        self._lock.close()
        _remove_unheld(self._lock.path)


def stage(
    slide: RemoteSlide, settings: InputSettings, make_room: Callable[[], None] | None = None
) -> StagedCopy:
    """Copy a slide to the local disk, or share the copy another process of this host has made.

    Parameters
    ----------
    make_room
        Called while there is no room: releases the copies that this process can do without.

    Raises
    ------
    UnreachableSlideError
        No room within the cap or on the disk, or the store does not answer.
    SlideChangedError
        The slide changed while it was copied.
    ConfigError
        The scratch folder cannot be used.
    """
    place = scratch_folder(settings) / slide.version[:24]
    path = place / slide.files[0].place
    while True:
        shared = _Lock.on(place.with_suffix(".lock"), fcntl.LOCK_SH)
        if shared.says(_COMPLETE):
            return StagedCopy(path, shared)
        shared.close()
        alone = _Lock.on(place.with_suffix(".lock"), fcntl.LOCK_EX)
        try:
            if not alone.says(_COMPLETE):
                _make(slide, place, alone, settings, make_room or _nothing)
        except BaseException:
            alone.close()
            _remove_unheld(alone.path)
            raise
        # not one step: between the two locks the copy may be removed again, so look again
        alone.close()


def sweep(settings: InputSettings) -> None:
    """Remove the copies that no process holds, of workers that were killed among them."""
    folder = _folder(settings)
    if folder.is_dir() and not folder.is_symlink():
        for lock in sorted(folder.glob("*.lock")):
            _remove_unheld(lock)


def scratch_folder(settings: InputSettings) -> Path:
    """Make the private folder of copies.

    Raises
    ------
    ConfigError
        It cannot be made, is another user's or open to others.
    """
    folder = _folder(settings)
    remedy = "name another folder by inputs.scratch"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; {remedy}") from error
    private = status.st_uid == os.getuid() and not status.st_mode & 0o077
    if folder.is_symlink() or not folder.is_dir() or not private:
        raise ConfigError(f"{folder}: not a private folder of this user; {remedy}")
    return folder


def room_is_wanted(settings: InputSettings) -> bool:
    """Whether a process of this host waits for room: what is not in use is to be released."""
    try:
        age_s = time.time() - (_folder(settings) / "wanted").stat().st_mtime
    except OSError:
        return False
    return age_s < _WANTED_S


def _folder(settings: InputSettings) -> Path:
    return Path(settings.scratch or tempfile.gettempdir()) / f"ki67-scratch-{os.getuid()}"


def _make(
    slide: RemoteSlide,
    place: Path,
    lock: "_Lock",
    settings: InputSettings,
    make_room: Callable[[], None],
) -> None:
    """Copy all files of a slide; the lock says ``complete`` last."""
    _wait_for_room(slide, lock, settings, make_room)
    try:
        if place.exists():  # of a worker that was killed
            shutil.rmtree(place)
        place.mkdir(mode=0o700)
        for file in slide.files:
            target = place / file.place
            target.parent.mkdir(mode=0o700, exist_ok=True)
            copy_object(file.url, file.state, target)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UnreachableSlideError(
            f"{shown(slide.url)}: the scratch folder {place.parent} is full; free "
            f"{_gb(slide.size)} or name another folder by inputs.scratch"
        ) from error
    if look_up(slide.url).version != slide.version:
        raise SlideChangedError(f"{shown(slide.url)}: it changed while it was copied; run again")
    lock.write(f"{slide.size} {_COMPLETE}")


def _wait_for_room(
    slide: RemoteSlide, lock: "_Lock", settings: InputSettings, make_room: Callable[[], None]
) -> None:
    folder = lock.path.parent
    cap, need, ends = int(settings.scratch_gb * _GB), slide.size, time.monotonic() + WAIT_S
    if need > cap:
        raise UnreachableSlideError(
            f"{shown(slide.url)}: its local copy takes {_gb(need)}, more than inputs.scratch_gb="
            f"{settings.scratch_gb:g} allows; raise it, or read ranges by slides.reader=tiffslide"
        )
    while True:
        with _alone(folder / "room"):
            sweep(settings)
            others = sum(_reserved(path) for path in folder.glob("*.lock") if path != lock.path)
            free = shutil.disk_usage(folder).free
            if others + need <= cap and need + SPARE_BYTES <= free:
                lock.write(str(need))
                return
        if others + need <= cap and not others:
            raise UnreachableSlideError(
                f"{shown(slide.url)}: its local copy takes {_gb(need)}, {folder} has {_gb(free)} "
                "free; free space or name another folder by inputs.scratch"
            )
        if time.monotonic() > ends:
            raise UnreachableSlideError(
                f"{shown(slide.url)}: no room for its local copy ({_gb(need)}) beside the "
                f"{_gb(others)} in use; raise inputs.scratch_gb={settings.scratch_gb:g}"
            )
        (folder / "wanted").touch(mode=0o600)
        make_room()
        time.sleep(_POLL_S)


def _nothing() -> None:
    """Nothing can be done without."""


def _gb(size: int) -> str:
    return f"{size / _GB:.2f} GB"


def _reserved(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii").partition(" ")[0] or 0)
    except (OSError, ValueError):
        return 0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = _Lock.on(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        lock.close()


def _remove_unheld(path: Path) -> None:
    """Remove a copy and its lock file, unless someone holds it."""
    try:
        lock = _Lock.on(path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=False)
    except OSError:
        return
    try:
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        path.unlink(missing_ok=True)
    finally:
        lock.close()


@dataclass(frozen=True, slots=True)
class _Lock:
    """An open lock file that is still the one of its name."""

    path: Path
    fd: int

    @classmethod
    def on(cls, path: Path, how: int, *, create: bool = True) -> "_Lock":
        """Open and lock; one that was removed meanwhile is made anew."""
        while True:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)
            try:
                fcntl.flock(fd, how)
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return cls(path, fd)
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def says(self, word: str) -> bool:
        """Whether the lock file ends so."""
        return os.pread(self.fd, 100, 0).decode("ascii").endswith(word)

    def write(self, text: str) -> None:
        """Put the text in the place of what the file holds."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text.encode("ascii"), 0)

    def close(self) -> None:
        """Give the lock up."""
        with suppress(OSError):
            os.close(self.fd)
