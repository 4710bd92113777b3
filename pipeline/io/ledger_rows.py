"""The rows of the ledger: runs, slides of runs, and the settings they were made with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class LedgerRun:
    """One run; times are UTC in ISO 8601, what is not known (yet) is None."""

    run_id: str
    started: str
    ended: str | None = None
    exit_code: int | None = None
    version: str | None = None
    model: str | None = None
    weights_sha256: str | None = None
    config_sha256: str | None = None
    kind: str | None = None
    """``run`` or ``score``."""
    status: str | None = None
    """``running``, ``finished``, ``interrupted``, ``failed`` or ``died`` (killed, power cut)."""
    host: str | None = None
    host_class: str | None = None
    """Kind of machine and device: what may be compared with what."""
    inputs: int | None = None
    """Slides that were asked for; the next columns are what became of them."""
    scored: int | None = None
    already_done: int | None = None
    failed: int | None = None
    failed_before: int | None = None
    deferred: int | None = None
    skipped: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerSlide:
    """One slide in one run that made something of it; one that was done already has no row."""

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
    name: str | None = None
    outcome: str | None = None
    fingerprint: str | None = None
    """Of the slide's content, from samples."""
    content_sha256: str | None = None
    """Of every byte, where that was asked for."""
    config_sha256: str | None = None
    key_sha256: str | None = None
    """Of everything that fixes the result: slide content, model, settings, region of interest."""
    settings_sha256: str | None = None
    """Of the same without the slide's content; its parts stand in the table of settings."""
    host_class: str | None = None
    regions: int | None = None
    pixels: int | None = None
    """Predicted, in the model's frame."""
    cells: int | None = None


Row = LedgerRun | LedgerSlide


@dataclass(frozen=True, slots=True)
class LedgerContents:
    """Everything a ledger holds, read in one go."""

    runs: tuple[LedgerRun, ...] = ()
    """Oldest first."""
    slides: tuple[LedgerSlide, ...] = ()
    """Oldest first."""
    settings: Mapping[str, Mapping[str, str]] | None = None
    """Key parts by ``settings_sha256``."""

    def slide_paths(self) -> dict[str, Path]:
        """Where each slide was last seen, by slide id."""
        return {row.slide_id: Path(row.path) for row in self.slides}

    def parts(self, row: LedgerSlide) -> dict[str, str] | None:
        """Everything that fixed a row's result, by name; None where that was not kept."""
        kept = (self.settings or {}).get(row.settings_sha256 or "")
        if kept is None:
            return None
        return {"slide content": row.content_sha256 or row.fingerprint or "", **kept}

    @classmethod
    def of(
        cls,
        runs: Iterable[LedgerRun],
        slides: Iterable[LedgerSlide],
        settings: Mapping[str, Mapping[str, str]],
    ) -> Self:
        """Put rows in the order of a ledger."""
        return cls(
            tuple(sorted(runs, key=lambda run: (run.started, run.run_id))),
            tuple(sorted(slides, key=lambda r: (r.finished or "", r.run_id, r.slide_id))),
            settings,
        )


_KINDS = {"str": "TEXT", "int": "INTEGER", "float": "REAL"}


def columns(row: type[Row]) -> dict[str, str]:
    """SQL types of a row's columns, by name."""
    found = {}
    for item in fields(row):
        kind, _, optional = (
            str(item.type).removeprefix("<class '").removesuffix("'>").partition(" ")
        )
        found[item.name] = _KINDS[kind] + ("" if optional else " NOT NULL")
    return found


def row_of(kind: type[Any], stored: Mapping[str, Any]) -> Any:
    """Make a row of named values: what an older program did not keep is None."""
    names = {item.name for item in fields(kind)}
    return kind(**{name: value for name, value in stored.items() if name in names})


def table_sql(name: str, row: type[Row], key: str) -> str:
    """Statement that creates a table."""
    listed = ", ".join(f"{column} {kind}" for column, kind in columns(row).items())
    return f"CREATE TABLE IF NOT EXISTS {name} ({listed}, PRIMARY KEY ({key}))"
