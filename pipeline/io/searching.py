"""Search folders and globs for slides; what only belongs to a slide is no slide of its own.

Left out are hidden files and resource forks (``._a.svs``), names of uploads under way
(``a.svs.part``, ``~a.svs``), label, macro and thumbnail pictures beside slides, the folder of a
MIRAX slide, all but the largest file of a DICOM series, and what a VMS or VMU file names.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigError
from pipeline.io.dicom import largest_of_series, series_members
from pipeline.io.patterns import Wanted
from pipeline.io.slides import SUFFIXES
from pipeline.io.vms import is_vms_name, named_members

logger = logging.getLogger(__name__)

UPLOAD_SUFFIXES = frozenset(
    (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".opdownload")
)
"""What browsers, WinSCP, rsync and others end the name of an unfinished file with."""

_PICTURE_WORDS = frozenset(
    ("label", "macro", "thumbnail", "thumb", "overview", "preview", "barcode", "slidelabel")
)


@dataclass(slots=True)
class Found:
    """What a search came upon.

    Attributes
    ----------
    slides
        Path and path below the input.
    unwanted
        Slides left out by a pattern.
    arriving
        Names of uploads under way.
    """

    slides: list[tuple[Path, PurePosixPath]] = field(default_factory=list)
    unwanted: int = 0
    arriving: list[str] = field(default_factory=list)

    def needed(self, text: str, where: str) -> list[tuple[Path, PurePosixPath]]:
        """Return the slides.

        Raises
        ------
        ConfigError
            There is none; says what there is instead.
        """
        if self.slides:
            return self.slides
        reasons = []
        if self.unwanted:
            reasons.append(f"{self.unwanted} left out by inputs.include or inputs.exclude")
        if self.arriving:
            reasons.append(f"{len(self.arriving)} still being copied ({self.arriving[0]})")
        reasons.append(f"the suffixes known are {' '.join(sorted(SUFFIXES))}")
        raise ConfigError(f"{text}: {where}; {'; '.join(reasons)}")


def search_folder(folder: Path, wanted: Wanted, *, follow_links: bool) -> Found:
    """Find the slides below a folder, in the order of their paths."""
    found = Found()
    for path in _slides_below(folder, found, follow_links=follow_links):
        _keep(found, path, PurePosixPath(path.relative_to(folder).as_posix()), wanted)
    return found


def search_glob(pattern: str, wanted: Wanted, *, follow_links: bool) -> Found:
    """Find the slides a glob matches, and those in the folders that it matches."""
    found = Found()
    # Path.glob takes no absolute pattern
    matches = [Path(match) for match in sorted(glob(pattern, recursive=True))]  # noqa: PTH207
    for path in _own_slides(_kept(matches, found)):
        _keep(found, path, PurePosixPath(path.name), wanted)
    for folder in (match for match in matches if match.is_dir()):
        for path in _slides_below(folder, found, follow_links=follow_links):
            relative = PurePosixPath(folder.name) / path.relative_to(folder).as_posix()
            _keep(found, path, relative, wanted)
    return found


def represented(path: Path) -> Path:
    """Return the file that stands for a named one: the largest of a DICOM series, else itself."""
    return largest_of_series(series_members(path))[0] if path.suffix.lower() == ".dcm" else path


def _keep(found: Found, path: Path, relative: PurePosixPath, wanted: Wanted) -> None:
    if wanted.takes(relative):
        found.slides.append((path, relative))
    else:
        found.unwanted += 1


def _slides_below(folder: Path, found: Found, *, follow_links: bool) -> Iterator[Path]:
    entered: set[tuple[int, int]] = set()
    for top, folders, names in os.walk(folder, onerror=_unreadable, followlinks=follow_links):
        if follow_links and _again(Path(top), entered):  # a link that leads back
            folders.clear()
            continue
        stems = {Path(name).stem for name in names if name.lower().endswith(".mrxs")}
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in stems)
        yield from _own_slides(_kept([Path(top, name) for name in sorted(names)], found))


def _again(folder: Path, entered: set[tuple[int, int]]) -> bool:
    status = folder.stat()
    place = (status.st_dev, status.st_ino)
    known = place in entered
    entered.add(place)
    return known


def _kept(paths: list[Path], found: Found) -> list[Path]:
    """Files whose name is that of a slide, one folder's or one glob's."""
    found.arriving += [path.name for path in paths if is_upload(path.name)]
    return [path for path in paths if is_slide_name(path.name) and not path.is_dir()]


def _own_slides(paths: list[Path]) -> list[Path]:
    """Leave out what belongs to another of these files."""
    members = {member for path in paths if is_vms_name(path.name) for member in named_members(path)}
    rest = [path for path in paths if path not in members and not is_picture(path, paths)]
    dicom = [path for path in rest if path.suffix.lower() == ".dcm"]
    return [path for path in rest if path not in set(dicom)] + largest_of_series(dicom)


def is_picture(path: Path, beside: list[Path]) -> bool:
    """Tell ``a_label.tif`` beside ``a.svs``, and ``label.tif`` beside any slide."""
    parts = re.split(r"[ ._-]+", path.stem.lower())
    if parts[-1] not in _PICTURE_WORDS:
        return False
    stem = path.stem[: len(path.stem) - len(parts[-1])].rstrip(" ._-").lower()
    if not stem:
        return any(p.parent == path.parent and not _only_word(p) for p in beside)
    owners = {p.stem.lower() for p in beside if p.parent == path.parent and p != path}
    owners |= {p.name.lower() for p in beside if p.parent == path.parent and p != path}
    return stem in owners


def _only_word(path: Path) -> bool:
    return path.stem.lower() in _PICTURE_WORDS


def is_upload(name: str) -> bool:
    """Whether a name is that of a file that is being written under another name."""
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122 (a name, not a path)
    inner = PurePosixPath(stem.strip(".~")).suffix
    unfinished = suffix in UPLOAD_SUFFIXES or name.startswith("~")
    return unfinished and (inner in SUFFIXES or suffix in SUFFIXES)


def is_slide_name(name: str) -> bool:
    """Whether a name is that of a slide's file, and not hidden."""
    hidden = name.startswith((".", "~"))
    return not hidden and PurePosixPath(name).suffix.lower() in SUFFIXES


def _unreadable(error: OSError) -> None:
    logger.warning("%s cannot be searched (%s)", error.filename, error.strerror)
