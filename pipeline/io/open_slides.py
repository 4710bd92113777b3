"""Slides that a worker has open, local or behind a URL: opened once, closed when not needed."""

import atexit
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pipeline.config import InputSettings
from pipeline.io.fingerprint import SlideContent, slide_content
from pipeline.io.remote import is_url
from pipeline.io.remote_reader import open_remote, staged_content
from pipeline.io.remote_slides import RemoteSlide, look_up, remote_content
from pipeline.io.scratch import StagedCopy, room_is_wanted, stage
from pipeline.io.slides import SlideReader, open_slide

OPEN_SLIDES = 2
"""Handles a process keeps: the slide it is on and the one it was on."""

KEPT_S = 900.0
"""How long a slide stays open that no task asks for; a local copy goes with it."""

_LOOK_S = 2.0
_GRACE_S = 5.0
"""Between a look at a slide and the folder of its work."""


@dataclass(frozen=True, slots=True)
class SlidePlace:
    """Where a slide is, and what is known of it.

    Attributes
    ----------
    location
        Absolute path, or URL.
    members
        What its files were when it was planned: see `fingerprint.SlideContent.as_json`.
    work
        Folder that exists as long as the slide is worked on; None: not known.
    """

    location: str
    inputs: InputSettings = field(default_factory=InputSettings)
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    work: Path | None = None


def content_at(place: SlidePlace) -> SlideContent:
    """Look at the content of a slide, wherever it is.

    Raises
    ------
    UnreadableSlideError, UnreachableSlideError
        It cannot be read.
    """
    full = place.inputs.fingerprint == "full"
    if not is_url(place.location):
        return slide_content(Path(place.location), full=full)
    slide = look_up(place.location)
    if slide.ranges:
        return remote_content(slide, full=full)
    return staged_content(slide, _OPEN.copy_of(slide, place), full=full)


@contextmanager
def opened(place: SlidePlace, reader: str, *, content: str | None = None) -> Iterator[SlideReader]:
    """Open a slide, or take it as it is still open from before.

    Parameters
    ----------
    reader
        See `slides.open_slide`.
    content
        Fingerprint of a slide whose handle is to be kept; None closes a local one afterwards.
        What is behind a URL is kept either way.

    Raises
    ------
    SlideError
        See `slides.open_slide`; a URL's object may be out of reach or have changed.
    """
    if is_url(place.location) or content is not None:
        with _OPEN.borrowed(place, reader, content or "") as kept:
            yield kept
        return
    own = open_slide(Path(place.location), reader)
    try:
        yield own
    finally:
        own.close()


def close_idle() -> None:
    """Close everything that no task is reading."""
    _OPEN.close(lambda _: True)


@dataclass(slots=True)
class _Entry:
    held: SlideReader | StagedCopy
    place: SlidePlace
    users: int = 0
    used: float = field(default_factory=time.monotonic)


class _OpenSlides:
    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, str, str], _Entry] = OrderedDict()
        self._lock = threading.RLock()
        self._watch: threading.Thread | None = None

    @contextmanager
    def borrowed(self, place: SlidePlace, reader: str, content: str) -> Iterator[SlideReader]:
        marks = "".join(member.get("mark") or "" for member in place.members.values())
        key = (place.location, reader, marks or content)
        with self._lock:
            if key not in self._entries:
                self._entries[key] = _Entry(self._open(place, reader), place)
            self._entries.move_to_end(key)
            entry = self._entries[key]
            entry.users += 1
            self._begin_watch()
        try:
            yield cast("SlideReader", entry.held)
        finally:
            with self._lock:
                entry.users, entry.used = entry.users - 1, time.monotonic()
                spare = len(self._entries) - OPEN_SLIDES
                for old in list(self._entries)[: max(spare, 0)]:
                    self._close(old)

    def copy_of(self, slide: RemoteSlide, place: SlidePlace) -> StagedCopy:
        """Stage a slide that is about to be opened, so that it is copied once."""
        key = (place.location, "", slide.version)
        with self._lock:
            if key not in self._entries:
                copy = stage(slide, place.inputs, close_idle)
                self._entries[key] = _Entry(copy, place)
                self._begin_watch()
            self._entries[key].used = time.monotonic()
            return cast("StagedCopy", self._entries[key].held)

    def close(self, wanted: Callable[[_Entry], bool]) -> None:
        """Close what no task reads and the rule names."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if wanted(entry)]:
                self._close(key)

    def _open(self, place: SlidePlace, reader: str) -> SlideReader:
        if not is_url(place.location):
            return open_slide(Path(place.location), reader)
        return open_remote(look_up(place.location, place.members), reader, place.inputs, close_idle)

    def _close(self, key: tuple[str, str, str]) -> bool:
        if self._entries[key].users:
            return False
        held = self._entries.pop(key).held
        if isinstance(held, StagedCopy):
            held.release()
        else:
            held.close()
        return True

    def _begin_watch(self) -> None:
        if self._watch is None or not self._watch.is_alive():
            self._watch = threading.Thread(target=self._look, name="open-slides", daemon=True)
            self._watch.start()

    def _look(self) -> None:
        """Close what is done with, until nothing is open."""
        while True:
            time.sleep(_LOOK_S)
            with suppress(OSError):
                self.close(_is_over)
            with self._lock:
                if not self._entries:
                    self._watch = None
                    return


def _is_over(entry: _Entry) -> bool:
    place = entry.place
    idle_s = time.monotonic() - entry.used
    gone = place.work is not None and idle_s > _GRACE_S and not place.work.exists()
    wanted = is_url(place.location) and room_is_wanted(place.inputs)
    return gone or wanted or idle_s > KEPT_S


_OPEN = _OpenSlides()
atexit.register(close_idle)
