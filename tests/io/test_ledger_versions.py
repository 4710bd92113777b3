"""Ledgers of earlier programs, of dead runs, on odd file systems, and beside a writer."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import OutputError
from pipeline.io.ledger import SCHEMA_VERSION, Ledger, LedgerRun, LedgerSlide
from pipeline.io.ledger_reading import check_ledger, read_ledger

RUN = LedgerRun("20260101-1", "2026-01-01T20:00:00Z", model="m", status="running")
SLIDE = LedgerSlide("20260101-1", "a-0123", "/slides/a.svs", "ok", finished="2026-01-01T20:01:00Z")

VERSION_1 = """
CREATE TABLE runs (run_id TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, exit_code INTEGER,
 version TEXT, model TEXT, weights_sha256 TEXT, config_sha256 TEXT, PRIMARY KEY (run_id));
CREATE TABLE slides (run_id TEXT NOT NULL, slide_id TEXT NOT NULL, path TEXT NOT NULL,
 status TEXT NOT NULL, reason TEXT, index_pct REAL, positive INTEGER, negative INTEGER,
 analysed_mm2 REAL, model TEXT, weights_sha256 TEXT, seconds REAL, finished TEXT,
 PRIMARY KEY (run_id, slide_id));
CREATE INDEX slides_by_slide ON slides (slide_id, finished);
INSERT INTO runs VALUES ('r1', '2025-01-01T20:00:00Z', NULL, 0, '0.1.0', 'm', 'ab', 'cd');
INSERT INTO slides VALUES ('r1', 'a-0123', '/slides/a.svs', 'ok', NULL, 12.5, 10, 70, 1.25, 'm',
 'ab', 61.5, '2025-01-01T20:01:00Z');
PRAGMA user_version = 1;
"""


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    return path


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_ledger_of_version_1_keeps_its_rows_and_takes_new_ones(first_version: Path) -> None:
    with Ledger(first_version) as ledger:
        ledger.record_run(RUN)
        ledger.record(replace(SLIDE, key_sha256="k", cells=80))
        old, new = ledger.rows(slide_id="a-0123")
    assert (old.index_pct, old.seconds, old.key_sha256, old.cells) == (12.5, 61.5, None, None)
    assert (new.key_sha256, new.cells) == ("k", 80)
    assert version_of(first_version) == SCHEMA_VERSION
    with Ledger(first_version) as ledger:  # a second opening changes nothing
        assert [run.run_id for run in ledger.runs()] == ["r1", "20260101-1"]


def test_a_ledger_of_version_1_is_read_without_being_changed(first_version: Path) -> None:
    before = first_version.read_bytes()
    contents = read_ledger(first_version)
    assert [row.index_pct for row in contents.slides] == [12.5]
    assert contents.runs[0].status is None
    assert first_version.read_bytes() == before
    assert version_of(first_version) == 1


def test_reading_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert read_ledger(path).slides == ()
    assert list(tmp_path.iterdir()) == []
    with Ledger(path) as ledger:
        ledger.record(SLIDE)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert read_ledger(path).slides == (SLIDE,)
    assert check_ledger(path) == []
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_reading_sees_whole_transactions_beside_a_writer_and_never_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.record(SLIDE)
        with closing(sqlite3.connect(path, timeout=0)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE slides SET status = 'failed'")
            assert read_ledger(path).slides == (SLIDE,)
            writer.commit()  # raises where a reader is in the way
        assert read_ledger(path).slides[0].status == "failed"


def test_rows_that_only_the_log_holds_are_read(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.sqlite", tmp_path / "copy" / "ledger.sqlite"
    copy.parent.mkdir()
    with Ledger(path) as ledger:
        ledger.record(SLIDE)
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):  # as a power cut leaves them
            (copy.parent / name).write_bytes((tmp_path / name).read_bytes())
    assert read_ledger(copy).slides == (SLIDE,)


def test_runs_that_never_ended_are_marked_by_the_next_one(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record_run(RUN)
        ledger.record_run(replace(RUN, run_id="ended", status="finished"))
        ledger.record_run(replace(RUN, run_id="now"))
        assert ledger.mark_died(but="now") == ["20260101-1"]
        status = {run.run_id: run.status for run in ledger.runs()}
    assert status == {"20260101-1": "died", "ended": "finished", "now": "running"}


def test_settings_are_kept_once_and_give_a_rows_parts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    made = replace(SLIDE, settings_sha256="s", fingerprint="f")
    with Ledger(path) as ledger:
        ledger.record_settings({"s": {"tissue.mpp": "8.0"}})
        ledger.record_settings({"s": {"tissue.mpp": "8.0"}})
        ledger.record(made)
    contents = read_ledger(path)
    assert contents.parts(made) == {"slide content": "f", "tissue.mpp": "8.0"}
    assert contents.parts(SLIDE) is None


def test_a_file_system_without_shared_memory_is_written_without_the_log(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    # the dot-file way of locking has no shared memory, like most network file systems
    with Ledger(path, vfs="unix-dotfile") as ledger:
        assert ledger.journal != "wal"
        ledger.record(SLIDE)
    assert read_ledger(path).slides == (SLIDE,)
    with Ledger(path) as ledger:
        assert ledger.journal == "wal"


def test_a_read_only_folder_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.record(SLIDE)
    folder.chmod(0o555)
    try:
        assert read_ledger(folder / "ledger.sqlite").slides == (SLIDE,)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("place", [0, 100, 4096])
def test_a_damaged_ledger_is_named_with_the_remedy(tmp_path: Path, place: int) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.record(*(replace(SLIDE, slide_id=f"s{n}") for n in range(200)))
    content = bytearray(path.read_bytes())
    content[place : place + 90] = b"\xff" * 90
    path.write_bytes(content)
    problems = check_ledger(path)
    assert problems
    assert "ledger.sqlite: " in problems[0]


def test_what_is_no_database_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(OutputError, match="--rebuild"):
        read_ledger(tmp_path / "ledger.sqlite")
