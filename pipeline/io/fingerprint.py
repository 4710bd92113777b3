"""The content of a slide in one line: sizes and samples of every file it consists of."""

import hashlib
import os
from pathlib import Path

from pipeline.io.dicom import series_members
from pipeline.io.reading import unreadable

SAMPLE_BYTES = 1 << 20
"""Read at the beginning, in the middle and at the end of each file."""


def fingerprint(path: Path) -> str:
    """Fingerprint a slide's content: ``sampled-sha256:`` and 64 hex digits.

    Covers the size and three samples of every member file (a MIRAX folder, a DICOM series), and
    the members' names, but not the slide's own name or place: a copy has the same fingerprint.
    A change of a few bytes between the samples of a large file is not seen.

    Raises
    ------
    UnreadableSlideError
        A file cannot be read.
    """
    digest = hashlib.sha256()
    for name, member in _named(path):
        try:
            size = member.stat().st_size
            digest.update(f"{name}\0{size}\0".encode())
            for sample in _samples(member, size):
                digest.update(sample)
        except OSError as error:
            reason = f"{member.name} cannot be read: {error.strerror or error}"
            raise unreadable(path, reason) from error
    return f"sampled-sha256:{digest.hexdigest()}"


def members(path: Path) -> list[Path]:
    """List all files of a slide, the named one first."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        return [path, *_files_of(path.with_suffix(""))]
    if suffix == ".dcm":
        try:
            return [path, *(p for p in series_members(path) if p != path)]
        except OSError:
            return [path]
    if suffix in (".vms", ".vmu"):
        beside = sorted(p for p in path.parent.glob("*") if p.is_file() and p != path)
        return [path, *(p for p in beside if p.name.startswith(path.stem))]
    return [path]


def _named(path: Path) -> list[tuple[str, Path]]:
    first, *rest = members(path)
    return [("", first), *((os.fsencode(m.name).hex(), m) for m in rest)]


def _files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else []


def _samples(path: Path, size: int) -> list[bytes]:
    """Read the whole of a small file, three pieces of a large one."""
    with path.open("rb") as file:
        if size <= 3 * SAMPLE_BYTES:
            return [file.read()]
        pieces = []
        for start in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
            file.seek(start)
            pieces.append(file.read(SAMPLE_BYTES))
        return pieces
