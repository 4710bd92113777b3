"""Find slides: files, folders and globs in; one entry a slide out, however many files it has.

A MIRAX slide is its ``.mrxs`` file (its folder is skipped), a DICOM slide is one series,
represented by its largest file. Whether an entry can be read is found out when it is opened: a text
renamed ``.svs`` is listed here and fails there, with its reason in the results.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

from pipeline.config import InputSettings
from pipeline.errors import ConfigError
from pipeline.io.dicom import largest_of_series, series_members
from pipeline.io.remote import is_url
from pipeline.io.slides import SUFFIXES

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
    """

    location: str
    slide_id: str
    relative: str
    group: str | None = None
    mpp: float | None = None
    roi: str | None = None
    deferred: str | None = None
    skipped: str | None = None

    @property
    def path(self) -> Path:
        """The location of a local slide."""
        return Path(self.location)

    @property
    def is_remote(self) -> bool:
        """Whether the location is a URL."""
        return is_url(self.location)


def discover(inputs: Sequence[str | Path], settings: InputSettings = _DEFAULTS) -> list[SlideInput]:
    """List the slides behind files, folders (searched whole) and globs.

    A named file that does not exist is listed too: it fails as a slide, and the rest goes on.
    Hidden files and linked folders are left out.

    Raises
    ------
    ConfigError
        No input was given, or a folder or glob holds no slide.
    """
    if not inputs:
        raise ConfigError("no slides given; name files, folders or globs")
    found: dict[Path, PurePosixPath] = {}
    for text in inputs:
        for path, relative in _expand(text):
            found.setdefault(_absolute(path), relative)
    listed = _told_apart(found)
    return sorted(
        (SlideInput(str(path), slide_id(relative), relative) for path, relative in listed.items()),
        key=lambda slide: (slide.relative, slide.location),
    )


def slide_id(relative: str) -> str:
    """Make the identifier of a slide from its relative path."""
    path = PurePosixPath(relative)
    # every series has a file called 1.dcm or level0.dcm: its folder says more
    named = path.parent if path.suffix.lower() == ".dcm" and path.parent.name else path
    stem = named.name if named is not path else path.stem
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")[:_LONGEST_STEM] or "slide"
    # surrogates stand for bytes of file names that are no UTF-8
    return f"{safe}-{hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]}"


def _expand(text: str | Path) -> Iterator[tuple[Path, PurePosixPath]]:
    path = Path(text).expanduser()
    if path.is_dir():
        yield from _searched(path, text)
    elif has_magic(str(text)) and not path.exists():
        # Path.glob takes no absolute pattern
        matches = sorted(glob(str(path), recursive=True))  # noqa: PTH207
        slides = [slide for match in matches for slide in _matched(Path(match))]
        if not slides:
            raise ConfigError(f"{text}: no slides match; the suffixes known are {_known()}")
        yield from slides
    else:
        slide = _represented(path)
        yield slide, PurePosixPath(slide.name)


def _matched(path: Path) -> list[tuple[Path, PurePosixPath]]:
    if path.is_dir():
        return [(slide, PurePosixPath(path.name) / part) for slide, part in _walked(path)]
    slide = _represented(path)
    return [(slide, PurePosixPath(slide.name))] if _is_slide_name(path.name) else []


def _represented(path: Path) -> Path:
    return largest_of_series(series_members(path))[0] if path.suffix.lower() == ".dcm" else path


def _searched(folder: Path, text: str | Path) -> list[tuple[Path, PurePosixPath]]:
    slides = _walked(folder)
    if not slides:
        raise ConfigError(f"{text}: no slides in this folder; the suffixes known are {_known()}")
    return slides


def _walked(folder: Path) -> list[tuple[Path, PurePosixPath]]:
    slides = []
    for top, folders, names in os.walk(folder, followlinks=False):
        stems = {Path(name).stem for name in names if name.lower().endswith(".mrxs")}
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in stems)
        files = [Path(top, name) for name in sorted(names) if _is_slide_name(name)]
        dicom = [path for path in files if path.suffix.lower() == ".dcm"]
        slides += [path for path in files if path not in set(dicom)] + largest_of_series(dicom)
    return [(path, PurePosixPath(path.relative_to(folder).as_posix())) for path in slides]


def _is_slide_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _known() -> str:
    return " ".join(sorted(SUFFIXES))


def _absolute(path: Path) -> Path:
    """Make a path absolute and free of ``..`` without following links: the name stays."""
    return Path(os.path.normpath(path.absolute()))


def _told_apart(found: dict[Path, PurePosixPath]) -> dict[Path, str]:
    """Lengthen equal relative paths by folders above them until all differ."""
    listed = {path: str(relative) for path, relative in found.items()}
    while True:
        holders: dict[str, list[Path]] = {}
        for path, relative in listed.items():
            holders.setdefault(relative, []).append(path)
        equal = [path for paths in holders.values() if len(paths) > 1 for path in paths]
        if not equal:
            return listed
        for path in equal:
            depth = len(PurePosixPath(listed[path]).parts) + 1
            listed[path] = PurePosixPath(*path.parts[-depth:]).as_posix()
