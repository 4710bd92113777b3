"""Many files replaced as one: staged beside the old ones, then moved; a crash leaves old or new.

The new files are written into a temporary folder. Its renaming to ``.scored`` is the moment of
change: before it the old state stands, after it :func:`settle_staged` brings the new one about,
however often it is interrupted.
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.io.files import (
    PARTIAL_SUFFIX,
    output_errors,
    read_json,
    refuse_link,
    sync_tree,
    write_json_atomic,
)

STAGED_NAME = ".scored"
_LAST_NAME = "done.json"
_REMOVED_NAME = ".removed.json"


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a temporary folder inside ``folder``; it is gone afterwards unless it was committed.

    Raises
    ------
    OutputError
        The folder is full, read-only or forbidden.
    """
    partial = folder / f".{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
    try:
        with output_errors(folder):
            partial.mkdir()
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def commit_staged(folder: Path, staged: Path, *, removed: Iterable[str]) -> None:
    """Put the staged files in place of those of the same name; ``done.json`` comes last.

    Parameters
    ----------
    folder
        Of the slide.
    staged
        Folder of the new files, from :func:`staging`.
    removed
        Files below ``folder`` that the new state does not have.

    Raises
    ------
    OutputError
        The folder cannot be written; the old state or, once staged, the new one stands.
    """
    write_json_atomic(staged / _REMOVED_NAME, sorted(removed))
    with output_errors(folder):
        sync_tree(staged)
        staged.rename(folder / STAGED_NAME)
        _sync_folder(folder)
    settle_staged(folder)


def settle_staged(folder: Path) -> bool:
    """Finish a commit that was interrupted; return whether there was one.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    staged = folder / STAGED_NAME
    if not staged.is_dir():
        return False
    with output_errors(folder):
        journal = staged / _REMOVED_NAME
        if journal.exists():  # the last thing to go, so what it names may be removed again
            for name in read_json(journal):
                (folder / name).unlink(missing_ok=True)
        for path in sorted(staged.iterdir()):
            if path.name not in {_REMOVED_NAME, _LAST_NAME}:
                _move(path, folder / path.name)
        _sync_folder(folder)
        if (staged / _LAST_NAME).exists():
            (staged / _LAST_NAME).replace(folder / _LAST_NAME)
        _sync_folder(folder)
        shutil.rmtree(staged)
    return True


def settle_all(out: Path) -> list[str]:
    """Finish interrupted commits of all slides of an output folder; return their ids.

    Raises
    ------
    OutputError
        A folder cannot be written, or is a link to another place.
    """
    for folder in sorted(out.glob("slides/*")):
        refuse_link(folder)
    left = sorted(out.glob(f"slides/*/{STAGED_NAME}"))
    return [path.parent.name for path in left if settle_staged(path.parent)]


def _move(source: Path, target: Path) -> None:
    """Files replace files; a Zarr group, which must not keep old chunks, replaces the whole one."""
    if not source.is_dir():
        source.replace(target)
    elif (source / "zarr.json").exists() or (source / ".zgroup").exists() or not target.exists():
        if target.exists():
            shutil.rmtree(target)
        source.rename(target)
    else:
        for path in sorted(source.iterdir()):
            _move(path, target / path.name)
        source.rmdir()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
