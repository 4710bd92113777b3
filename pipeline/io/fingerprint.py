"""The content of a slide in one line: sizes and samples of every file it consists of."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline.io.dicom import series_members
from pipeline.io.files import sha256_file
from pipeline.io.reading import unreadable
from pipeline.io.vms import is_vms_name, named_members

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
    mark
        What a remote store says of the object's version; None of a local file. It tells of a
        change during a run; another run does not ask for it.
    """

    size: int
    sampled: str
    sha256: str | None = None
    mark: str | None = None


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
        """Members as plain values, without a mark where a file has none."""
        plain = {name: asdict(member) for name, member in self.members.items()}
        return {
            name: {key: value for key, value in member.items() if (key, value) != ("mark", None)}
            for name, member in plain.items()
        }


class MemberFile(Protocol):
    """One file of a slide, wherever it is."""

    @property
    def name(self) -> str:
        """File name."""

    def size(self) -> int:
        """Bytes."""

    def mark(self) -> str | None:
        """See :class:`Member`."""

    def read(self, start: int, size: int) -> bytes:
        """Read a part."""

    def sha256(self) -> str:
        """Of every byte."""


def fingerprint(path: Path) -> str:
    """Fingerprint a slide's content: ``sampled-sha256:`` and 64 hex digits.

    Covers the size and three samples of every member file (a MIRAX folder, a DICOM series, the
    pictures a VMS file names), and the members' names, but not the slide's own name or place: a
    copy has the same fingerprint.
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
    try:
        return content_from([_LocalFile(member) for member in members(path)], full=full)
    except OSError as error:
        name = Path(error.filename).name if error.filename else path.name
        which = "" if name == path.name else f"{name} "
        raise unreadable(path, f"{which}cannot be read: {error.strerror or error}") from error


def content_from(files: Iterable[MemberFile], *, full: bool) -> SlideContent:
    """Look at files, the slide's own first: its name is no content, the others' are.

    Raises
    ------
    OSError, SlideError
        A file cannot be read.
    """
    digest, found = hashlib.sha256(), {}
    for number, file in enumerate(files):
        name, size = file.name if number else "", file.size()
        digest.update(f"{os.fsencode(name).hex()}\0{size}\0".encode())
        sampled = hashlib.sha256()
        for sample in _samples(file, size):
            digest.update(sample)
            sampled.update(sample)
        total = file.sha256() if full else None
        readable = os.fsencode(name).decode("utf-8", "replace")
        found[readable] = Member(size, sampled.hexdigest()[:_SAMPLED_DIGITS], total, file.mark())
    return SlideContent(f"sampled-sha256:{digest.hexdigest()}", found)


def marks_differ(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether a store says that an object was written between two looks of one run."""
    return any(
        before[name].get("mark") not in (None, member.get("mark"))
        for name, member in after.items()
        if name in before
    )


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
    if is_vms_name(path.name):
        return [path, *named_members(path)]
    return [path]


def _files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else []


def _samples(file: MemberFile, size: int) -> list[bytes]:
    """Read the whole of a small file, three pieces of a large one."""
    if size <= 3 * SAMPLE_BYTES:
        return [file.read(0, size)]
    starts = (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES)
    return [file.read(start, SAMPLE_BYTES) for start in starts]


@dataclass(frozen=True, slots=True)
class _LocalFile:
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def size(self) -> int:
        return self.path.stat().st_size

    def mark(self) -> str | None:
        return None

    def read(self, start: int, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def sha256(self) -> str:
        return sha256_file(self.path)
