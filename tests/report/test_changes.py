import json
from pathlib import Path

from pipeline.io.ledger import LEDGER_NAME, Ledger, LedgerRun, LedgerSlide
from pipeline.report.html import write_report
from tests.report.batches import add_slide


def test_the_report_tells_what_changed_since_the_last_run(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    add_slide(tmp_path, "b-1")
    add_slide(tmp_path, "c-1")
    with Ledger(tmp_path / LEDGER_NAME) as ledger:
        for run in ("r1", "r2"):
            ledger.record_run(LedgerRun(run, f"2026-01-0{run[1]}T00:00:00+00:00"))
        ledger.record(
            LedgerSlide("r1", "a-1", "a", "ok", index_pct=30.0),
            LedgerSlide("r1", "b-1", "b", "failed"),
            LedgerSlide("r2", "b-1", "b", "ok", index_pct=30.0),
            LedgerSlide("r2", "c-1", "c", "ok", index_pct=30.0),
        )
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Since the run of 2026-01-01 00:00 UTC: 1 new, 1 changed, 1 the same" in text
    assert "b-1: failed → ok, index – → 30.0 %" in text
    told = json.loads((tmp_path / "report_data" / "batch.json").read_text())["since_last_run"]
    assert told["new"] == ["c-1"]


def test_a_first_run_tells_of_no_change(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    assert "Since the run" not in write_report(tmp_path).read_text(encoding="utf-8")
    assert not (tmp_path / LEDGER_NAME).exists()
