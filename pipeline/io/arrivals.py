"""Slides that may still be arriving: what their files look like now, and whether that is old.

A file is settled when its time of change is ``settle_s`` in the past. A younger one, or one from
the future, says nothing: it is looked at again after that time, and taken if nothing changed.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.io.fingerprint import members
from pipeline.io.searching import is_upload


@dataclass(frozen=True, slots=True)
class Look:
    """All files of a slide at one time.

    Attributes
    ----------
    mark
        Of names, sizes and times: equal where nothing changed.
    changed_s
        When the last of them changed, seconds since 1970.
    """

    mark: str
    changed_s: float


def look_at(path: Path) -> Look | None:
    """Look at a slide's files and at uploads beside them; None where the slide is not there."""
    try:
        path.stat()
        files = [*members(path), *_beside(path)]
    except OSError:
        return None
    total, newest_s = hashlib.sha256(), 0.0
    for file in files:
        try:
            status = file.stat()
        except OSError:  # renamed meanwhile: another name the next time
            continue
        size = 0 if file.is_dir() else status.st_size
        total.update(f"{os.fsencode(file.name).hex()} {size} {status.st_mtime_ns}\n".encode())
        newest_s = max(newest_s, status.st_mtime)
    return Look(total.hexdigest(), newest_s)


def unsettled(look: Look, *, settle_s: float, now_s: float) -> str | None:
    """Say why a slide may still be arriving; None where it is settled.

    Parameters
    ----------
    now_s
        Seconds since 1970.
    """
    age_s = now_s - look.changed_s
    if settle_s <= 0 or age_s >= settle_s:
        return None
    if age_s < 0:
        return "its time of change is in the future; it may still be arriving"
    return f"changed {age_s:.0f} s ago; it may still be arriving"


def _beside(path: Path) -> list[Path]:
    """What tells of a slide and :func:`members` has not: its folder, uploads under its name."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        folder = path.with_suffix("")
        return [folder] if folder.is_dir() else []
    if suffix == ".dcm":
        # a series grows file by file, each under its final name
        return [path.parent, *(p for p in sorted(path.parent.iterdir()) if is_upload(p.name))]
    names = (f"{path.name}{ending}" for ending in (".part", ".filepart", ".crdownload", ".tmp"))
    return [upload for name in names if (upload := path.with_name(name)).is_file()]
