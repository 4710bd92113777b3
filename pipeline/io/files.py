"""Atomic files: a result is there whole or not at all, and a full disk is one clear line."""

import errno
import gzip
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import OutputError

PARTIAL_SUFFIX = ".partial"
"""Ends every temporary name; whatever carries it after a run is the rest of a killed one."""

_REMEDIES = {
    errno.ENOSPC: "no space left on the device; free some or choose another --out, then run again",
    errno.EDQUOT: "the disk quota is used up; free some or choose another --out, then run again",
    errno.EACCES: "permission denied; make the folder writable or choose another --out",
    errno.EPERM: "not permitted; make the folder writable or choose another --out",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another --out",
    errno.EEXIST: "a file stands where a folder is needed; move it or choose another --out",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter --out",
}
_READ_BYTES = 1 << 20


def short_name(folder: Path) -> str:
    """Last two parts of a path: enough to find it, no home folder in messages."""
    parts = [part for part in folder.parts[-2:] if part not in {"/", "\\"}]
    return "/".join(parts) or "."


@contextmanager
def output_errors(folder: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden folder into OutputError; other errors pass.

    Raises
    ------
    OutputError
        One line with the folder's short name and the remedy.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError) or error.errno not in _REMEDIES:
            raise
        raise OutputError(f"{short_name(folder)}: {_REMEDIES[error.errno]}") from error


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents; return it.

    Raises
    ------
    OutputError
        When it cannot be made.
    """
    with output_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # where nothing can be made, as in /proc
            remedy = "no folder can be made there; choose another --out"
            raise OutputError(f"{short_name(folder)}: {remedy}") from error
    return folder


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link where results are written and removed: it leads elsewhere.

    Raises
    ------
    OutputError
        It is a link.
    """
    if path.is_symlink():
        raise OutputError(
            f"{short_name(path)}: is a link to another place, and results are only written below "
            "the output folder; remove the link and run again"
        )


@contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give a temporary name in the same folder; on success it becomes ``path``, else it goes.

    Parameters
    ----------
    sync
        The bytes are on the disk (fsync) before the name is. Without it a power failure may leave
        a file that is empty or damaged: for those that say so themselves and are easily made again.

    Raises
    ------
    OutputError
        The folder is full, read-only or forbidden, or a folder or a device has the name.
    """
    make_folder(path.parent)
    if path.exists() and not path.is_file():
        raise OutputError(f"{short_name(path)}: is no file, so nothing is written over it")
    partial = path.parent / f".{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
    try:
        with output_errors(path.parent):
            yield partial
            if sync:
                _sync(partial)
            partial.replace(path)
            if sync:
                _sync(path.parent)
    finally:
        with suppress(OSError):  # a disk that turned read-only keeps it: the first error is told
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success it takes the place of ``path``.

    Raises
    ------
    OutputError
        The parent folder is full, read-only or forbidden.
    """
    make_folder(path.parent)
    partial = path.parent / f".{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
    try:
        with output_errors(path.parent):
            partial.mkdir()
            yield partial
            sync_tree(partial)
            if path.exists():
                shutil.rmtree(path)
            partial.replace(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def gzip_stream(path: Path, *, level: int = 6) -> Iterator[gzip.GzipFile]:
    """Write a gzip file whose bytes depend on nothing but what is written (mtime 0, no name)."""
    with path.open("wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=raw, mtime=0)
        with packed as stream:
            yield stream


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a small file in one step."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_text_atomic(path: Path, text: str) -> None:
    """Write a small UTF-8 file in one step, line ends as given."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Write JSON with keys in the order given.

    Raises
    ------
    ValueError
        NaN or infinity, which JSON has no word for.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises
    ------
    OSError, ValueError
        The file cannot be read or is no JSON.
    """
    return json.loads(path.read_bytes())


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            total.update(block)
    return total.hexdigest()


def sync_tree(folder: Path) -> None:
    """Put every file below a folder on the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _sync(path)


def sweep_partial(folder: Path) -> int:
    """Remove what killed writers left below a folder; return how many names went.

    Zarr's own temporary chunks end in the same suffix. Call it only where nobody writes.
    """
    count = 0
    for path in sorted(folder.rglob(f"*{PARTIAL_SUFFIX}")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        count += 1
    return count


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
