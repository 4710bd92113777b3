"""A slide behind a URL: its files, their state, its content; the same content as a local copy's."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.errors import SlideChangedError, UnreachableSlideError
from pipeline.io.dicom import HEAD_BYTES, uid_in
from pipeline.io.fingerprint import SlideContent, content_from, marks_differ
from pipeline.io.objects import (
    CHUNK_BYTES,
    ObjectState,
    connect,
    persistently,
    read_range,
    state_of,
)
from pipeline.io.remote import is_web, shown, url_name, with_path
from pipeline.io.vms import LARGEST_INDEX_BYTES, is_vms_name, named_in


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One object of a slide.

    Attributes
    ----------
    place
        Path of its copy beside the copies of the slide's other files.
    """

    url: str
    place: PurePosixPath
    state: ObjectState

    @property
    def name(self) -> str:
        """File name."""
        return self.place.name

    def size(self) -> int:
        """Bytes."""
        return self.state.size

    def mark(self) -> str | None:
        """What the store says of its version."""
        return hashlib.sha256(self.state.mark.encode()).hexdigest()[:16]

    def read(self, start: int, size: int) -> bytes:
        """Read a part.

        Raises
        ------
        UnreachableSlideError, SlideChangedError
            See `objects.read_range`.
        """
        return read_range(self.url, start, start + size)

    def sha256(self) -> str:
        """Of every byte, all of which is transferred."""
        digest = hashlib.sha256()
        for start in range(0, self.state.size, CHUNK_BYTES):
            digest.update(self.read(start, min(CHUNK_BYTES, self.state.size - start)))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class RemoteSlide:
    """All objects of one slide as they are now, its own first."""

    url: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.state.size for file in self.files)

    @property
    def ranges(self) -> bool:
        """Whether parts of its files can be read."""
        return all(file.state.ranges for file in self.files)

    @property
    def version(self) -> str:
        """One text for the place and the state of all files, credentials left out."""
        said = "".join(
            f"{shown(file.url)}\0{file.state.size}\0{file.state.mark}\0" for file in self.files
        )
        return hashlib.sha256(said.encode()).hexdigest()


def look_up(url: str, members: Mapping[str, Mapping[str, Any]] | None = None) -> RemoteSlide:
    """Ask for the files of a slide and their states.

    Parameters
    ----------
    members
        What the slide was when it was planned: see `fingerprint.SlideContent.as_json`.

    Raises
    ------
    UnreachableSlideError
        It is not there, or its store does not answer.
    SlideChangedError
        It is not what was planned.
    """
    name = PurePosixPath(url_name(url))
    files = [RemoteFile(url, name, state_of(url))]
    if files[0].state.size == 0:
        raise UnreachableSlideError(f"{shown(url)}: the object is empty; copy the slide again")
    files += [
        RemoteFile(beside, place, state_of(beside))
        for beside, place in _companions(url, name, files[0].state)
    ]
    _refuse_changed(url, files, members or {})
    return RemoteSlide(url, tuple(files))


def remote_content(slide: RemoteSlide, *, full: bool = False) -> SlideContent:
    """Look at the content: the fingerprint is that of a copy made by hand.

    Raises
    ------
    UnreachableSlideError, SlideChangedError
        See `objects.read_range`.
    """
    if not slide.ranges:
        raise UnreachableSlideError(
            f"{shown(slide.url)}: its server gives no parts of files; look at a staged copy"
        )
    return content_from(slide.files, full=full)


def _refuse_changed(
    url: str, files: list[RemoteFile], members: Mapping[str, Mapping[str, Any]]
) -> None:
    now = {
        file.name if number else "": {"size": file.size(), "mark": file.mark()}
        for number, file in enumerate(files)
    }
    resized = any(
        member["size"] != now.get(name, {}).get("size") for name, member in members.items()
    )
    if members and (resized or now.keys() != members.keys() or marks_differ(members, now)):
        raise SlideChangedError(f"{shown(url)}: it changed while it was read; run again")


def _companions(
    url: str, name: PurePosixPath, state: ObjectState
) -> list[tuple[str, PurePosixPath]]:
    """The other objects of a slide: a MIRAX folder, a DICOM series, what a VMS file names."""
    suffix = name.suffix.lower()
    if suffix == ".mrxs":
        below = _listed(with_path(url, "/", cut=name.suffix))
        return [(found, PurePosixPath(name.stem) / url_name(found)) for found in below]
    if suffix != ".dcm" and not is_vms_name(name.name):
        return []
    path = url.partition("?")[0] if is_web(url) else url
    beside = _listed(with_path(url, "", cut=path.rpartition("/")[2]))
    others = [found for found in beside if shown(found) != shown(url)]
    if suffix == ".dcm":
        others = [found for found in others if url_name(found).lower().endswith(".dcm")]
        if others:
            uid = series_of(url)
            others = [found for found in others if uid is not None and series_of(found) == uid]
    else:
        named = named_in(_beginning(url, state))
        others = [found for found in others if url_name(found) in named]
    return [(found, PurePosixPath(url_name(found))) for found in others]


def series_of(url: str) -> str | None:
    """Read the SeriesInstanceUID of a DICOM object; None where there is none."""
    state = state_of(url)
    return uid_in(read_range(url, 0, min(HEAD_BYTES, state.size)) if state.ranges else b"")


def _beginning(url: str, state: ObjectState) -> bytes:
    """Read the text of a VMS file; a server that knows no ranges gives the whole of it."""
    if state.ranges:
        return read_range(url, 0, min(LARGEST_INDEX_BYTES, state.size))
    if state.size > LARGEST_INDEX_BYTES:
        return b""
    store, path = connect(url)
    return persistently(url, lambda: bytes(store.cat_file(path)))


def _listed(folder: str) -> list[str]:
    """Objects directly in a folder, by URL."""
    store, path = connect(folder)
    entries = persistently(folder, lambda: store.ls(path, detail=True))
    files = (entry["name"] for entry in entries if entry.get("type") != "directory")
    found = (str(store.unstrip_protocol(name)) for name in files)
    return sorted(url for url in found if not url.endswith("/"))
