"""List slides: files, folders, globs, manifests and URLs in; one entry a slide out.

A MIRAX slide is its ``.mrxs`` file (its folder is skipped), a DICOM slide is one series,
represented by its largest file. Whether an entry can be read is found out when it is opened: a text
renamed ``.svs`` is listed here and fails there, with its reason in the results.
"""

import hashlib
import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path, PurePath, PurePosixPath

from pipeline.config import InputSettings
from pipeline.errors import ConfigError
from pipeline.io.arrivals import Look, look_at, unsettled
from pipeline.io.manifest import ManifestRow, is_manifest, read_manifest
from pipeline.io.patterns import Wanted
from pipeline.io.remote import is_url, shown
from pipeline.io.remote_listing import list_slides
from pipeline.io.searching import represented, search_folder, search_glob

_LONGEST_STEM = 80
_DEFAULTS = InputSettings()


@dataclass(frozen=True, slots=True)
class SlideInput:
    """One slide of an archive.

    Attributes
    ----------
    location
        Absolute path, or URL.
    slide_id
        Safe stem, a dash and 8 hex digits of the relative path: unique, stable, a file name.
    relative
        Path within the input it was found in, with forward slashes.
    group
        The case it belongs to; None where nothing says so, empty where it belongs to none.
    mpp
        Micrometres per pixel that override the file's.
    roi
        File of its region of interest.
    deferred
        Why it is not to be touched now; None otherwise.
    skipped
        Why it is left out on request; None otherwise.
    seen
        What its files looked like; None of a remote slide, and of one that is not there.
    """

    location: str
    slide_id: str
    relative: str
    group: str | None = None
    mpp: float | None = None
    roi: str | None = None
    deferred: str | None = None
    skipped: str | None = None
    seen: Look | None = None

    @property
    def path(self) -> Path:
        """The location of a local slide."""
        return Path(self.location)

    @property
    def is_remote(self) -> bool:
        """Whether the location is a URL."""
        return is_url(self.location)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One way a slide was come upon."""

    location: str
    relative: str
    row: ManifestRow | None = None
    named: bool = False
    """Asked for by its own name, so it is taken however young it is."""


def discover(inputs: Sequence[str | Path], settings: InputSettings = _DEFAULTS) -> list[SlideInput]:
    """List the slides behind files, folders (searched whole), globs, manifests and URLs.

    A named file that does not exist is listed too: it fails as a slide, and the rest goes on. A
    slide that may still be arriving carries the reason as ``deferred``, unless its own name was
    given. One that is come upon twice is listed once, with what a manifest says of it.

    Raises
    ------
    ConfigError
        No input was given, a folder, glob or manifest holds no slide, a manifest is wrong or two
        contradict each other, or a pattern is none.
    """
    if not inputs:
        raise ConfigError("no slides given; name files, folders, globs or a manifest")
    wanted = Wanted.of(settings)
    found: dict[str, _Entry] = {}
    for text in inputs:
        for entry in _expand(text, wanted, settings):
            place = shown(entry.location)  # a link that was signed twice is one slide
            known = found.get(place)
            found[place] = entry if known is None else _joined(known, entry)
    relatives = _told_apart(found)
    names = _normal_names(relatives)
    now_s = time.time()
    slides = [
        _slide(entry, relatives[location], names[location], settings.settle_s, now_s)
        for location, entry in found.items()
    ]
    return sorted(slides, key=lambda slide: (slide.relative, slide.location))


def slide_id(relative: str, *, distinct: str | None = None) -> str:
    """Make the identifier of a slide from its relative path.

    Parameters
    ----------
    distinct
        What is hashed in place of the relative path.
    """
    path = PurePosixPath(relative)
    # every series has a file called 1.dcm or level0.dcm: its folder says more
    named = path.parent if path.suffix.lower() == ".dcm" and path.parent.name else path
    stem = named.name if named is not path else path.stem
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")[:_LONGEST_STEM] or "slide"
    # surrogates stand for bytes of file names that are no UTF-8
    content = os.fsencode(relative if distinct is None else distinct)
    return f"{safe}-{hashlib.sha256(content).hexdigest()[:8]}"


def printable(text: str) -> str:
    """Write a name so that any file and terminal can hold it: no control characters, UTF-8."""
    whole = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") else letter
        for letter in whole
    )


def _expand(text: str | Path, wanted: Wanted, settings: InputSettings) -> Iterator[_Entry]:
    if isinstance(text, str) and is_url(text):
        for location, below in list_slides(text, wanted):
            yield _Entry(location, below, named=True)
        return
    path = Path(text).expanduser()
    if path.is_dir():
        found = search_folder(path, wanted, follow_links=settings.follow_links)
        for slide, relative in found.needed(str(text), "no slides in this folder"):
            yield _Entry(_absolute(slide), str(relative))
    elif has_magic(str(text)) and not path.exists():
        found = search_glob(str(path), wanted, follow_links=settings.follow_links)
        for slide, relative in found.needed(str(text), "no slides match"):
            yield _Entry(_absolute(slide), str(relative))
    elif is_manifest(path):
        rows = [row for row in read_manifest(path) if wanted.takes(row.relative)]
        if not rows:
            raise ConfigError(f"{text}: all its slides are left out by inputs.include or exclude")
        yield from (_Entry(row.location, row.relative, row) for row in rows)
    else:
        slide = represented(path)
        yield _Entry(_absolute(slide), slide.name, named=True)


def _joined(known: _Entry, other: _Entry) -> _Entry:
    """The same slide through two inputs: the first place stands, and what a manifest says."""
    rows = [entry.row for entry in (known, other) if entry.row is not None]
    if len(rows) == 2 and rows[0].says != rows[1].says:
        raise ConfigError(
            f"{printable(known.relative)}: two manifests say different things of it; "
            "keep it in one of them"
        )
    return replace(known, row=rows[0] if rows else None, named=known.named or other.named)


def _slide(entry: _Entry, relative: str, normal: str, settle_s: float, now_s: float) -> SlideInput:
    row = entry.row
    outside = row is not None and row.outside
    made = SlideInput(
        entry.location,
        slide_id(normal, distinct=shown(entry.location) if outside else None),
        relative,
        group=None if row is None else row.group,
        mpp=None if row is None else row.mpp,
        roi=None if row is None else row.roi,
        skipped=None if row is None else row.skipped,
    )
    if made.is_remote or made.skipped is not None:
        return made
    seen = look_at(made.path)
    waits = seen is not None and not entry.named
    reason = unsettled(seen, settle_s=settle_s, now_s=now_s) if waits and seen else None
    return replace(made, seen=seen, deferred=reason)


def _absolute(path: Path) -> str:
    """Make a path absolute and free of ``..`` without following links: the name stays."""
    return os.path.normpath(path.absolute())


def _told_apart(found: dict[str, _Entry]) -> dict[str, str]:
    """Lengthen equal relative paths by folders above them until all differ."""
    listed = {location: entry.relative for location, entry in found.items()}
    while True:
        holders: dict[str, list[str]] = {}
        for location, relative in listed.items():
            holders.setdefault(relative, []).append(location)
        equal = [place for places in holders.values() if len(places) > 1 for place in places]
        if not equal:
            return listed
        for location in equal:
            depth = len(PurePosixPath(listed[location]).parts) + 1
            listed[location] = PurePosixPath(*_parts(location)[-depth:]).as_posix()


def _parts(location: str) -> tuple[str, ...]:
    path: PurePath = PurePosixPath(location) if is_url(location) else PurePath(location)
    return path.parts


def _normal_names(relatives: dict[str, str]) -> dict[str, str]:
    """One spelling of accents, as a copy by another system may change it; equals keep their own."""
    normal = {place: unicodedata.normalize("NFC", name) for place, name in relatives.items()}
    numbers = Counter(normal.values())
    return {
        place: name if numbers[name] == 1 else relatives[place] for place, name in normal.items()
    }
