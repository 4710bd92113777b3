import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import OutputError
from pipeline.io.ledger import Ledger, LedgerRun, LedgerSlide

RUN = LedgerRun("20260101-1", "2026-01-01T20:00:00Z", model="m", weights_sha256="ab")
SLIDE = LedgerSlide(
    "20260101-1",
    "a-0123",
    "/slides/a.svs",
    "ok",
    index_pct=12.5,
    positive=10,
    negative=70,
    analysed_mm2=1.25,
    model="m",
    weights_sha256="ab",
    seconds=61.5,
    finished="2026-01-01T20:01:00Z",
)


def test_what_is_recorded_comes_back_and_outlives_the_connection(tmp_path: Path) -> None:
    failed = LedgerSlide("20260101-1", "b-0123", "/slides/b.svs", "failed", reason="no mpp")
    with Ledger(tmp_path / "out" / "ledger.sqlite") as ledger:
        ledger.record_run(RUN)
        ledger.record(SLIDE, failed)
        ledger.record()
    with Ledger(tmp_path / "out" / "ledger.sqlite") as ledger:
        assert ledger.runs() == [RUN]
        assert ledger.rows() == [failed, SLIDE]


def test_a_slide_has_one_row_in_a_run_and_a_history_over_runs(tmp_path: Path) -> None:
    later = replace(SLIDE, run_id="20260102-1", finished="2026-01-02T20:00:00Z", path="/new/a.svs")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(replace(SLIDE, status="failed"))
        ledger.record(SLIDE)
        ledger.record(later)
        assert ledger.rows(slide_id="a-0123") == [SLIDE, later]
        assert ledger.rows(since="2026-01-02") == [later]
        assert ledger.rows(run_id="20260101-1") == [SLIDE]
        assert ledger.slide_paths() == {"a-0123": Path("/new/a.svs")}


def test_a_run_is_completed_in_place(tmp_path: Path) -> None:
    done = replace(RUN, ended="2026-01-01T23:00:00Z", exit_code=0)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record_run(RUN)
        ledger.record_run(done)
        assert ledger.runs() == [done]


def test_readers_read_while_the_driver_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as writer:
        writer.record(SLIDE)
        found: list[int] = []

        def read() -> None:
            with Ledger(path) as reader:
                found.append(len(reader.rows()))

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(timeout=20)
        assert found == [1]
        with closing(sqlite3.connect(path)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        assert mode == "wal"


def test_text_is_kept_as_text_whatever_it_says(tmp_path: Path) -> None:
    nasty = replace(SLIDE, reason="'); DROP TABLE slides; --", path="/a b/ü'.svs")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(nasty)
        assert ledger.rows() == [nasty]


def test_a_file_that_is_no_ledger_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(OutputError, match="move the file away"):
        Ledger(path)


def test_a_ledger_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutputError, match="version 99"):
        Ledger(path)
