"""The ledger: which slide was done by which run with which model, in one SQLite file.

The truth stands in the result files; the ledger is their history over runs and can be built again
from them. Only the driver writes it.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import OutputError
from pipeline.io.files import make_folder, short_name

LEDGER_NAME = "ledger.sqlite"

_SCHEMA_VERSION = 1
_BUSY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LedgerRun:
    """One run; times are UTC in ISO 8601, what is not known yet is None."""

    run_id: str
    started: str
    ended: str | None = None
    exit_code: int | None = None
    version: str | None = None
    model: str | None = None
    weights_sha256: str | None = None
    config_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerSlide:
    """One slide in one run."""

    run_id: str
    slide_id: str
    path: str
    status: str
    reason: str | None = None
    index_pct: float | None = None
    positive: int | None = None
    negative: int | None = None
    analysed_mm2: float | None = None
    model: str | None = None
    weights_sha256: str | None = None
    seconds: float | None = None
    finished: str | None = None


_KINDS = {"str": "TEXT", "int": "INTEGER", "float": "REAL"}


def _columns(row: type[LedgerRun] | type[LedgerSlide]) -> str:
    parts = []
    for item in fields(row):
        kind, _, optional = (
            str(item.type).removeprefix("<class '").removesuffix("'>").partition(" ")
        )
        parts.append(f"{item.name} {_KINDS[kind]}" + ("" if optional else " NOT NULL"))
    return ", ".join(parts)


_TABLES = (
    f"CREATE TABLE IF NOT EXISTS runs ({_columns(LedgerRun)}, PRIMARY KEY (run_id))",
    f"CREATE TABLE IF NOT EXISTS slides ({_columns(LedgerSlide)}, PRIMARY KEY (run_id, slide_id))",
    "CREATE INDEX IF NOT EXISTS slides_by_slide ON slides (slide_id, finished)",
)


class Ledger:
    """History of an output folder; a context manager, one writer at a time.

    Raises
    ------
    OutputError
        The file cannot be opened or written, is no ledger, or was made by a newer program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        make_folder(path.parent)
        with self._errors():
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
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

    def runs(self) -> list[LedgerRun]:
        """All runs, oldest first."""
        return [
            LedgerRun(**row) for row in self._rows("SELECT * FROM runs ORDER BY started, run_id")
        ]

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
        return [LedgerSlide(**row) for row in self._rows(query, wanted)]

    def slide_paths(self) -> dict[str, Path]:
        """Where each slide was last seen, by slide id."""
        return {row.slide_id: Path(row.path) for row in self.rows()}

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _SCHEMA_VERSION}:
            raise OutputError(
                f"{short_name(self._path)}: ledger of version {version}, this program knows "
                f"{_SCHEMA_VERSION}; update ki67-pipeline or move the file away"
            )
        # readers are not held up by the writer; network file systems without it keep their own way
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._connection:
            for table in _TABLES:
                self._connection.execute(table)
            self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _keep(self, table: str, rows: Iterable[LedgerRun | LedgerSlide]) -> None:
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
                "writable, or move the file away: the results do not need it"
            ) from error
