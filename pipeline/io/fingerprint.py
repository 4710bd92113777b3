"""The content of a slide in one line: sizes and samples of every file it consists of."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.io.dicom import series_members
from pipeline.io.files import sha256_file
from pipeline.io.reading import unreadable

SAMPLE_BYTES = 1 << 20
"""Read at the beginning, in the middle and at the end of each file."""

_SAMPLED_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a slide.

    Attributes
    ----------
    sampled
        First digits of the sha256 of its samples.
    sha256
        Of every byte; None where nobody asked.
    """

    size: int
    sampled: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class SlideContent:
    """What a slide's files hold, as far as they were read.

    Attributes
    ----------
    fingerprint
        ``sampled-sha256:`` and 64 hex digits.
    members
        By name; the slide's own file, whose name is no content, is ``""``.
    """

    fingerprint: str
    members: Mapping[str, Member] = field(default_factory=dict)

    @property
    def sha256(self) -> str | None:
        """Of every byte: the file's own, or of the sums of all files; None if one is not known."""
        sums = [member.sha256 for member in self.members.values()]
        if len(sums) < 2:
            return sums[0] if sums else None
        named = (f"{name}\0{member.sha256}\0" for name, member in self.members.items())
        return None if None in sums else hashlib.sha256("".join(named).encode()).hexdigest()

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Members as plain values."""
        return {name: asdict(member) for name, member in self.members.items()}


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
    return slide_content(path).fingerprint


def slide_content(path: Path, *, full: bool = False) -> SlideContent:
    """Look at the files of a slide: samples of each, or with ``full`` every byte as well.

    Raises
    ------
    UnreadableSlideError
        A file cannot be read.
    """
    digest, found = hashlib.sha256(), {}
    for name, member in _named(path):
        try:
            size = member.stat().st_size
            digest.update(f"{name}\0{size}\0".encode())
            sampled = hashlib.sha256()
            for sample in _samples(member, size):
                digest.update(sample)
                sampled.update(sample)
            total = sha256_file(member) if full else None
        except OSError as error:
            reason = f"{member.name} cannot be read: {error.strerror or error}"
            raise unreadable(path, reason) from error
        readable = bytes.fromhex(name).decode("utf-8", "replace")
        found[readable] = Member(size, sampled.hexdigest()[:_SAMPLED_DIGITS], total)
    return SlideContent(f"sampled-sha256:{digest.hexdigest()}", found)


def changed_members(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Name the files of a slide that differ between two looks, from :meth:`SlideContent.as_json`.

    Sums over every byte are compared where both looks have them. A slide of one file is named by
    an empty text: there is nothing more to say.
    """
    if not before or not after:
        return []  # one of them did not say
    found = [name for name in after if name in before and _differ(before[name], after[name])]
    words = [f"{name} changed" if name else "" for name in found]
    words += [f"{name} is missing" for name in before if name not in after]
    return words + [f"{name} is new" for name in after if name not in before]


def _differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    sums = before.get("sha256"), after.get("sha256")
    if None not in sums and sums[0] != sums[1]:
        return True
    return any(before.get(name) != after.get(name) for name in ("size", "sampled"))


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
