"""A MIRAX slide is a file and a folder of its name, where Slidedat.ini names all other files."""

import re
from pathlib import Path

from pipeline.io.reading import unreadable

_INDEX = "Slidedat.ini"
_LARGEST = 1 << 26
"""Bytes; scanners write less than a hundredth."""

_SECTION = re.compile(r"^\s*\[(\w+)\]\s*$")
_MEMBER = re.compile(r"^\s*(INDEXFILE|FILE_\d+)\s*=\s*(\S.*?)\s*$")


def mirax_fault(path: Path) -> str:
    """Say why a file of that name is no MIRAX slide."""
    folder = path.with_suffix("")
    if not folder.is_dir():
        return (
            f"the folder {folder.name}/ is missing; a MIRAX slide is the .mrxs file and the "
            "folder of the same name beside it"
        )
    return f"the folder {folder.name}/ holds no readable {_INDEX}; copy the slide again"


def refuse_incomplete(path: Path) -> None:
    """Refuse a MIRAX slide that lacks a file: OpenSlide opens it, and fails in the middle.

    Raises
    ------
    UnreadableSlideError
        A file that Slidedat.ini names is missing; the line names the first and counts the others.
    """
    folder = path.with_suffix("")
    names = _members(folder / _INDEX)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise unreadable(
            path,
            f"{missing[0]}{more} of {len(names)} files in {folder.name}/ missing; copy it again",
        )


def _members(index: Path) -> list[str]:
    """Names of the files; none where the index cannot be read, which OpenSlide tells."""
    try:
        if index.stat().st_size > _LARGEST:
            return []
        lines = index.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return []
    section, names = "", []
    for line in lines:
        if found := _SECTION.match(line):
            section = found[1]
        elif section in ("HIERARCHICAL", "DATAFILE") and (found := _MEMBER.match(line)):
            names.append(Path(found[2].replace("\\", "/")).name)
    return names
