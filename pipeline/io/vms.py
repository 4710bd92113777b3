"""A Hamamatsu VMS or VMU slide is a text file and the pictures beside it that it names."""

import re
from pathlib import Path

from pipeline.io.reading import unreadable

LARGEST_INDEX_BYTES = 1 << 20
"""Of the text; scanners write less than a hundredth."""

_NAMED = re.compile(r"^[^=\[\]\r\n]+=[ \t]*(\S.*?)\s*$", re.MULTILINE)
_NEEDED = re.compile(
    r"^[ \t]*(?:ImageFile|MapFile|MacroImage)\b[^=\r\n]*=[ \t]*(\S.*?)\s*$", re.MULTILINE
)


def is_vms_name(name: str) -> bool:
    """Whether a name is that of such a text file."""
    return name.lower().endswith((".vms", ".vmu"))


def named_in(index: bytes) -> set[str]:
    """Every value of the text that could be the name of a file beside it."""
    return _names(_NAMED, index)


def named_members(path: Path) -> list[Path]:
    """List the files beside a VMS or VMU file that it names and that are there."""
    found = (path.parent / name for name in named_in(_text(path)))
    return sorted(member for member in found if member != path and member.is_file())


def refuse_incomplete(path: Path) -> None:
    """Refuse a slide that lacks a picture it is read from.

    Raises
    ------
    UnreadableSlideError
        The line names the first that is missing and counts the others.
    """
    names = _names(_NEEDED, _text(path))
    missing = sorted(name for name in names if not (path.parent / name).is_file())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise unreadable(
            path, f"{missing[0]}{more} of {len(names)} files it names missing; copy it again"
        )


def _names(pattern: re.Pattern[str], index: bytes) -> set[str]:
    found = pattern.findall(index.decode("latin-1"))
    return {name for name in found if "/" not in name and "\0" not in name}


def _text(path: Path) -> bytes:
    """Beginning of the text; nothing where it cannot be read, which the reader tells."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_INDEX_BYTES)
    except OSError:
        return b""
