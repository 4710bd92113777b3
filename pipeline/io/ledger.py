"""The ledger: which slide was done by which run with which model, in one SQLite file.

The truth stands in the result files; the ledger is their history over runs and can be built again
from them. Only the driver writes it; readers use :func:`pipeline.io.ledger_reading.read_ledger`.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import OutputError
from pipeline.io.files import make_folder, short_name
from pipeline.io.ledger_rows import (
    LedgerContents,
    LedgerRun,
    LedgerSlide,
    Row,
    columns,
    row_of,
    table_sql,
)

__all__ = ["LEDGER_NAME", "Ledger", "LedgerContents", "LedgerRun", "LedgerSlide"]

LEDGER_NAME = "ledger.sqlite"

SCHEMA_VERSION = 2
"""1: runs and slides. 2: what became of a run, keys, settings, machine and work of each slide."""

_BUSY_SECONDS = 30.0
_TABLES: dict[str, type[Row]] = {"runs": LedgerRun, "slides": LedgerSlide}
_STATEMENTS = (
    table_sql("runs", LedgerRun, "run_id"),
    table_sql("slides", LedgerSlide, "run_id, slide_id"),
    "CREATE INDEX IF NOT EXISTS slides_by_slide ON slides (slide_id, finished)",
    "CREATE TABLE IF NOT EXISTS settings (sha256 TEXT PRIMARY KEY, parts TEXT NOT NULL)",
)


class Ledger:
    """History of an output folder; a context manager, one writer at a time.

    Parameters
    ----------
    vfs
        Name of SQLite's way to the file system, for one that cannot lock; None: its own choice.

    Raises
    ------
    OutputError
        The file cannot be opened or written, is no ledger, or was made by a newer program.
    """

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self.journal = ""
        """``wal``, or ``delete`` where the file system has no shared memory: readers then wait."""
        make_folder(path.parent)
        with self._errors():
            address = path.absolute().as_uri() + (f"?vfs={vfs}" if vfs else "")
            self._connection = sqlite3.connect(address, timeout=_BUSY_SECONDS, uri=True)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the ledger cannot be used after."""
        self._connection.close()

    def record_run(self, run: LedgerRun) -> None:
        """Keep a run, replacing what was kept of the same run."""
        self._keep("runs", [run])

    def record(self, *slides: LedgerSlide) -> None:
        """Keep slides of a run, replacing what was kept of the same slide in the same run."""
        self._keep("slides", slides)

    def record_settings(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Keep what settings are made of, by their digest; the same digest is the same settings."""
        rows = [(sha256, json.dumps(dict(parts))) for sha256, parts in settings.items()]
        with self._errors(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?)", rows)

    def mark_died(self, *, but: str) -> list[str]:
        """Mark runs that never said how they ended, all but one; return their ids.

        Call it only while the folder's lock is held: then none of them is alive.
        """
        dead = [run for run in self.runs() if run.status == "running" and run.run_id != but]
        self._keep("runs", [replace(run, status="died") for run in dead])
        return [run.run_id for run in dead]

    def runs(self) -> list[LedgerRun]:
        """All runs, oldest first."""
        rows = self._rows("SELECT * FROM runs ORDER BY started, run_id")
        return [row_of(LedgerRun, row) for row in rows]

    def rows(
        self,
        *,
        since: str | None = None,
        run_id: str | None = None,
        slide_id: str | None = None,
    ) -> list[LedgerSlide]:
        """Slides, oldest first; ``since`` is the earliest ``finished`` (ISO 8601)."""
        query = (
            "SELECT * FROM slides WHERE (:since IS NULL OR finished >= :since)"
            " AND (:run_id IS NULL OR run_id = :run_id)"
            " AND (:slide_id IS NULL OR slide_id = :slide_id) ORDER BY finished, run_id, slide_id"
        )
        wanted = {"since": since, "run_id": run_id, "slide_id": slide_id}
        return [row_of(LedgerSlide, row) for row in self._rows(query, wanted)]

    def slide_paths(self) -> dict[str, Path]:
        """Where each slide was last seen, by slide id."""
        return {row.slide_id: Path(row.path) for row in self.rows()}

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in range(SCHEMA_VERSION + 1):
            raise OutputError(
                f"{short_name(self._path)}: ledger of version {version}, this program knows "
                f"{SCHEMA_VERSION}; update ki67-pipeline or move the file away"
            )
        self.journal = self._journal()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if version == SCHEMA_VERSION:
            return
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")  # all of it or nothing
            for statement in _STATEMENTS:
                self._connection.execute(statement)
            for table, row in _TABLES.items():
                self._add_columns(table, row)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _journal(self) -> str:
        """Keep readers from being held up by the writer, where the file system allows it."""
        try:
            answer = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:  # shared memory refused: network file systems
            answer = self._connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        return str(answer[0]).lower()

    def _add_columns(self, table: str, row: type[Row]) -> None:
        there = {line[1] for line in self._connection.execute(f"PRAGMA table_info({table})")}
        for name, kind in columns(row).items():
            if name not in there:
                self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")

    def _keep(self, table: str, rows: Iterable[Row]) -> None:
        kept = list(rows)
        if not kept:
            return
        names = list(asdict(kept[0]))
        places = ", ".join("?" * len(names))
        # the table's and columns' names are this module's own words
        query = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608
        with self._errors(), self._connection:
            self._connection.executemany(query, [astuple(row) for row in kept])

    def _rows(self, query: str, wanted: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._errors():
            cursor = self._connection.execute(query, wanted or {})
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"{short_name(self._path)}: the ledger cannot be used ({error}); make the folder "
                "writable, or move the file away and build it again with `ki67 history OUT "
                "--rebuild`: the results do not need it"
            ) from error
