"""Checks of folders: room, and whether files can be locked, renamed and kept there."""

import fcntl
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from pipeline.io.files import read_json, write_json_atomic
from pipeline.io.ledger import LEDGER_NAME, Ledger
from pipeline.run.doctor.checking import Outcome, Question

LEAST_GB = 5.0
LEAST_SHARED_GB = 0.06

Answer = tuple[Outcome, str, str]


def questions(out: Path) -> list[Question]:
    """Checks of the output folder and of the machine's temporary ones."""
    return [
        ("disk of the output", partial(room, out)),
        ("disk of temporary files", partial(room, Path(tempfile.gettempdir()))),
        ("shared memory", shared_memory),
        ("locks and renames", partial(trial_files, out)),
    ]


def room(folder: Path) -> Answer:
    """Free space where a folder is or would be."""
    there = existing(folder)
    free_gb = shutil.disk_usage(there).free / 1e9
    found = f"{free_gb:.1f} GB free"
    if free_gb < 0.1:
        return "fail", found, "free some space or choose another folder"
    if free_gb < LEAST_GB:
        return "warn", found, "`ki67 preflight` tells how much a run needs"
    return "ok", found, ""


def shared_memory() -> Answer:
    """Room in /dev/shm, which training's loaders use; containers often have 64 MB."""
    place = Path("/dev/shm")  # noqa: S108 (looked at, not written)
    if not place.is_dir():
        return "warn", "no /dev/shm", "training needs it: mount a tmpfs there"
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < LEAST_SHARED_GB:
        return "warn", f"{free_gb:.2f} GB free", "training needs more: docker run --shm-size 1g"
    return "ok", f"{free_gb:.1f} GB free", ""


def trial_files(out: Path) -> Answer:
    """Lock, rename, sync, and write a ledger, in a private folder that is removed."""
    there = existing(out)
    if not os.access(there, os.W_OK | os.X_OK):
        return "fail", "not writable", "make the folder writable or choose another --out"
    private = Path(tempfile.mkdtemp(prefix=".ki67-doctor-", dir=there))
    try:
        refusal = lock_twice(private / "lock")
        if refusal:
            return "fail", refusal, "two runs could meet here; choose a local disk for --out"
        write_json_atomic(private / "renamed.json", {"kept": 1})
        if read_json(private / "renamed.json") != {"kept": 1}:
            return "fail", "a renamed file is not what was written", "choose another disk"
        with Ledger(private / LEDGER_NAME) as ledger:
            kept = ledger_mode(private / LEDGER_NAME)
            del ledger
    finally:
        shutil.rmtree(private, ignore_errors=True)
    if kept != "wal":
        return (
            "warn",
            f"locks and renames work, the ledger is kept as {kept}",
            ("no matter for results; a local disk keeps readers from waiting"),
        )
    return "ok", "flock, rename, fsync and SQLite's WAL work", ""


def lock_twice(path: Path) -> str:
    """Tell what is wrong with locks of a file; an empty line where they exclude each other."""
    with path.open("w") as first, path.open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ""
    return "two processes can hold one lock"


def ledger_mode(path: Path) -> str:
    """How SQLite keeps a ledger: bytes 18 and 19 of the file are 2 for WAL."""
    head = path.read_bytes()[:20]
    return "wal" if head[18:20] == b"\x02\x02" else "a plain journal"


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    there = folder.absolute()
    while not there.is_dir():
        there = there.parent
    return there
