"""Reading the ledger without touching it: nothing is created, nothing held up, while a run writes.

A ledger that nobody has open is read as a plain file. Beside a writer (there is a ``-wal`` file)
SQLite's own reading takes over, which sees whole transactions and keeps nobody waiting.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import OutputError
from pipeline.io.files import short_name
from pipeline.io.ledger import SCHEMA_VERSION
from pipeline.io.ledger_rows import LedgerContents, LedgerRun, LedgerSlide, row_of

_TRIES = 20
_PAUSE_S = 0.1
_Found = TypeVar("_Found")


def read_ledger(path: Path) -> LedgerContents:
    """Read everything a ledger holds, one of an earlier version too; empty where there is none.

    Raises
    ------
    OutputError
        The file is damaged, no ledger, or of a newer program.
    """
    if not path.exists():
        return LedgerContents(settings={})
    return _read(path, _contents)


def check_ledger(path: Path) -> list[str]:
    """Name what SQLite finds wrong in the file; an empty list is a sound ledger."""
    if not path.exists():
        return []
    try:
        found = _read(path, lambda ledger: list(ledger.execute("PRAGMA integrity_check(5)")))
        read_ledger(path)
    except OutputError as error:
        return [str(error)]
    lines = [str(line) for (line,) in found]
    return [] if lines == ["ok"] else [f"{short_name(path)}: {line}" for line in lines]


def _read(path: Path, ask: Callable[[sqlite3.Connection], _Found]) -> _Found:
    """Ask again where the file changed under the reading."""
    problem: sqlite3.Error | None = None
    for _ in range(_TRIES):
        before = _state(path)
        try:
            with closing(_open(path)) as ledger:
                found = ask(ledger)
            problem = None
        except sqlite3.Error as error:
            problem = error
        if _state(path) == before:
            if problem is None:
                return found
            break
        time.sleep(_PAUSE_S)
    if problem is None:
        raise OutputError(f"{short_name(path)}: it changes all the time; try again later")
    raise OutputError(
        f"{short_name(path)}: the ledger cannot be read ({problem}); build it again with "
        "`ki67 history OUT --rebuild`"
    ) from problem


def _open(path: Path) -> sqlite3.Connection:
    alone = not path.with_name(path.name + "-wal").exists()
    how = "?mode=ro&immutable=1" if alone else "?mode=ro"
    return sqlite3.connect(path.absolute().as_uri() + how, uri=True, timeout=_PAUSE_S * _TRIES)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _contents(ledger: sqlite3.Connection) -> LedgerContents:
    version = ledger.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise OutputError(
            f"ledger of version {version}, this program knows {SCHEMA_VERSION}; "
            "update ki67-pipeline"
        )
    ledger.execute("BEGIN")  # all tables as of one moment
    there = {name for (name,) in ledger.execute("SELECT name FROM sqlite_master")}
    if "slides" not in there:  # its first writer did not get that far
        return LedgerContents(settings={})
    settings = _rows(ledger, "SELECT * FROM settings") if "settings" in there else []
    return LedgerContents.of(
        [row_of(LedgerRun, row) for row in _rows(ledger, "SELECT * FROM runs")],
        [row_of(LedgerSlide, row) for row in _rows(ledger, "SELECT * FROM slides")],
        {row["sha256"]: json.loads(row["parts"]) for row in settings},
    )


def _rows(ledger: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    cursor = ledger.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
