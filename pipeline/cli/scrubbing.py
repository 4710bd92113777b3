"""Keeps names and paths out of logs: a file's name can be a patient's."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from pipeline.run.events import SlideName

PATH_MARK = "<path>"
_SHORTEST_WORD = 3
_SOURCE = re.compile(r"\"/[^\"\n]*?([\w-]+\.py)\"")
_QUOTED = re.compile(r"(['\"])(?:/|[a-z][a-z0-9]*://)[^'\"\n]+\1")
_URL = re.compile(r"\b(?!https?://(?:127\.0\.0\.1|localhost)[:/])[a-z][a-z0-9]*://[^\s'\",;]+")
_BARE = re.compile(r"(?<![\w:/.<>%-])/[^\s'\",;:()]+")


def short_id(slide_id: str) -> str:
    """Give the hash part of a slide's id: the rest of it is made from the file's name."""
    return slide_id.rsplit("-", 1)[-1]


class Scrubber:
    """Replaces names of slides by the hash of their id, and absolute paths by a mark.

    Parameters
    ----------
    places
        Paths that may be named besides those of slides.
    """

    def __init__(self, places: Iterable[str] = ()) -> None:
        self._exact = {place: PATH_MARK for place in places if len(place) > 1}
        self._words: dict[str, str] = {}
        self._ordered: list[tuple[str, str]] = []
        self._order()

    def learn(self, slides: Sequence[SlideName]) -> None:
        """Take the slides of a run."""
        for slide in slides:
            mark = short_id(slide.slide_id)
            path, place = PurePosixPath(slide.name), PurePosixPath(slide.location)
            self._exact |= {slide.slide_id: mark, slide.location: mark, slide.name: mark}
            self._exact |= {path.name: mark, place.name: mark}
            self._exact |= {
                str(above): PATH_MARK for above in place.parents if len(above.parts) > 1
            }
            self._words |= dict.fromkeys(path.parts[:-1], PATH_MARK)
            self._words |= {path.stem: mark, slide.slide_id.rsplit("-", 1)[0]: mark}
        self._order()

    def text(self, text: str) -> str:
        """Give a text without what must not be in a log."""
        for known, mark in self._ordered:
            if known in text:
                text = text.replace(known, mark)
        for word, mark in self._words.items():
            if len(word) >= _SHORTEST_WORD and word in text:
                text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", mark, text)
        text = _SOURCE.sub(r'"\1"', text)
        return _BARE.sub(PATH_MARK, _URL.sub(PATH_MARK, _QUOTED.sub(PATH_MARK, text)))

    def _order(self) -> None:
        """Longest first: a folder must not be cut out of a path below it."""
        found = sorted(self._exact.items(), key=lambda pair: -len(pair[0]))
        self._ordered = [(known, mark) for known, mark in found if known]


class OpenScrubber(Scrubber):
    """Leaves everything as it is: the user asked for names and paths."""

    def text(self, text: str) -> str:
        """Give the text."""
        return text
