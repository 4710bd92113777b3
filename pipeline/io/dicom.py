"""Which DICOM files belong to one slide: the series, read from the head of each file."""

import re
from collections.abc import Sequence
from pathlib import Path

HEAD_BYTES = 1 << 18
"""In which the identifiers of a file stand."""

# study and series UID stand side by side only at the top level of a data set: a series UID alone
# may belong to a sequence that refers to another series
_EXPLICIT = re.compile(
    rb"\x20\x00\x0d\x00UI.\x00[0-9.]+\x00?\x20\x00\x0e\x00UI.\x00([0-9.]+)", re.DOTALL
)
_IMPLICIT = re.compile(
    rb"\x20\x00\x0d\x00.\x00\x00\x00[0-9.]+\x00?\x20\x00\x0e\x00.\x00\x00\x00([0-9.]+)", re.DOTALL
)


def series_uid(path: Path) -> str | None:
    """Read the SeriesInstanceUID of a DICOM file; None where there is none to read."""
    try:
        with path.open("rb") as file:
            return uid_in(file.read(HEAD_BYTES))
    except OSError:
        return None


def uid_in(head: bytes) -> str | None:
    """Find the SeriesInstanceUID in the first bytes of a DICOM file; None where there is none."""
    if head[128:132] != b"DICM":
        return None
    found = _EXPLICIT.search(head) or _IMPLICIT.search(head)
    return found.group(1).decode("ascii") if found else None


def series_members(path: Path) -> list[Path]:
    """List the files of a file's series in its folder, sorted; the file alone if it has none."""
    uid = series_uid(path)
    if uid is None:
        return [path]
    beside = sorted(p for p in path.parent.iterdir() if _is_dicom_name(p))
    return [p for p in beside if p == path or series_uid(p) == uid]


def largest_of_series(paths: Sequence[Path]) -> list[Path]:
    """List one file a series: the largest, which is no label, and the first of equals."""
    largest: dict[tuple[Path, str], Path] = {}
    for path in sorted(paths):
        series = (path.parent, series_uid(path) or path.name)
        if series not in largest or path.stat().st_size > largest[series].stat().st_size:
            largest[series] = path
    return list(largest.values())


def _is_dicom_name(path: Path) -> bool:
    return path.suffix.lower() == ".dcm" and not path.name.startswith(".") and path.is_file()
