"""History tells what was done with what; it can be built again from the files; status reads on."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.io.ledger import LEDGER_NAME, Ledger, LedgerRun
from pipeline.io.ledger_reading import read_ledger
from pipeline.run.archive import run_archive
from pipeline.run.history import rebuild_ledger
from pipeline.run.lock import locked
from tests.run.conftest import Configure
from tests.run.score_batches import again


@pytest.fixture
def finished(tmp_path: Path, reference: Path) -> Path:
    return Path(shutil.copytree(reference, tmp_path / "finished"))


def ki67(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)))


def test_a_run_leaves_what_it_did_with_what(finished: Path) -> None:
    ledger = read_ledger(finished / LEDGER_NAME)
    (run,) = ledger.runs
    assert (run.status, run.exit_code, run.inputs, run.scored, run.failed) == (
        "finished",
        0,
        2,
        2,
        0,
    )
    for row in ledger.slides:
        assert row.outcome == "scored"
        assert row.cells == (row.positive or 0) + (row.negative or 0)
        assert (row.regions or 0) > 0
        assert (row.pixels or 0) > 0
        parts = ledger.parts(row)
        assert parts is not None
        assert parts["slide content"] == row.fingerprint
        assert parts["prediction.tile_core_px"] == "128"


def test_the_ledger_built_again_is_the_ledger(out: Path) -> None:
    again(out, {"prediction": {"threshold": 3.0}})
    before = read_ledger(out / LEDGER_NAME)
    assert {row.status for row in before.slides} >= {"ok", "failed"}
    (out / LEDGER_NAME).write_bytes(b"damaged")
    result = ki67("history", out, "--rebuild")
    assert result.exit_code == 0, result.stderr
    assert read_ledger(out / LEDGER_NAME) == before


def test_what_a_killed_run_had_finished_is_in_the_ledger_built_again(finished: Path) -> None:
    before = read_ledger(finished / LEDGER_NAME)
    path = next((finished / "runs").glob("*.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"status": "running", "slides": [], "settings": {}}))
    with locked(finished):
        rebuild_ledger(finished)
    after = read_ledger(finished / LEDGER_NAME)
    assert after.runs[0].status == "died"
    assert after.settings == before.settings
    for old, new in zip(before.slides, after.slides, strict=True):
        assert (new.slide_id, new.key_sha256, new.cells, new.pixels, new.finished) == (
            old.slide_id,
            old.key_sha256,
            old.cells,
            old.pixels,
            old.finished,
        )


def test_a_run_that_never_ended_is_marked_by_the_next(
    finished: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    with Ledger(finished / LEDGER_NAME) as ledger:
        ledger.record_run(LedgerRun("20250101T000000Z-0000", "2025-01-01", status="running"))
    run_archive([slides], finished, configure(scheduler))
    status = [run.status for run in read_ledger(finished / LEDGER_NAME).runs]
    assert status == ["died", "finished", "finished"]


def test_history_names_what_changed_between(out: Path) -> None:
    again(out, {"prediction": {"threshold": 3.0}})
    lines = [json.loads(line) for line in ki67("history", out, "--json").stdout.splitlines()]
    changed = [line["changed"] for line in lines if line["slide_id"].startswith("first")]
    assert changed == [[], ["prediction.threshold"]]
    failed = ki67("history", out, "--failed").stdout
    assert "broken-" in failed
    assert "first-" not in failed
    assert ki67("history", out, "--since", "2999-01-01").stdout == "0 results\n"
    assert ki67("history", out, "--since", "2020-01-01 12:30:00", "--json").stdout.splitlines() == [
        json.dumps(line) for line in lines
    ]
    unknown = ki67("history", out, "--slide", "nobody")
    assert (unknown.exit_code, "no slide of that id" in unknown.output) == (2, True)
    for wrong in ("30.11.2026", "20261130", "2026-13-01"):
        answer = ki67("history", out, "--since", wrong)
        assert (answer.exit_code, wrong in answer.output) == (2, True)
    table = list(csv.DictReader(io.StringIO(ki67("history", out, "--csv").stdout)))
    assert len(table) == len(lines)
    (out / LEDGER_NAME).unlink()
    assert "--rebuild makes it again" in ki67("history", out).stderr


def test_status_counts_and_says_what_is_next(out: Path) -> None:
    found = json.loads(ki67("status", out, "--json").stdout)
    assert found["counts"] == {"ok": 2, "failed_known": 1, "in_progress": 1}
    assert found["last_run"]["status"] == "finished"
    assert found["last_run"]["exit_code"] == 1
    assert found["held_by"] is None
    assert "half done" in found["next"]
    with locked(out):
        assert "held by: process " in ki67("status", out).stdout


def test_status_changes_nothing_and_sees_slides_that_are_not_begun(out: Path) -> None:
    shutil.rmtree(next(out.glob("slides/second-*")))
    (next(out.glob("slides/first-*")) / "score.json").write_text("{")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    found = json.loads(ki67("status", out, "--json").stdout)
    assert found["pending"] == ["second.tif"]
    assert found["counts"]["damaged"] == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_status_of_another_folder_is_a_usage_error(tmp_path: Path) -> None:
    assert ki67("status", tmp_path).exit_code == 2
