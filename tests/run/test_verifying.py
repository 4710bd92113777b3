"""Verify finds whatever does not hold, takes its done mark away, and the next run mends it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.io.results import DONE_NAME, read_score
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from pipeline.run.lock import locked
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes


@pytest.fixture
def finished(tmp_path: Path, reference: Path) -> Path:
    return Path(shutil.copytree(reference, tmp_path / "finished"))


def verify(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, words)])


def first_of(out: Path) -> Path:
    return next(out.glob("slides/first-*"))


def chunk_of(folder: Path) -> Path:
    return next(p for p in sorted(folder.glob("heatmap.ome.zarr/0/c/**/*")) if p.is_file())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a missing chunk": (lambda f: chunk_of(f).unlink(), "missing (Zarr chunk)"),
    "a flipped byte": (lambda f: flip(f / "cells.parquet"), "cells.parquet: content changed"),
    "a cut file": (lambda f: cut(f / "areas.geojson"), "areas.geojson: "),
    "a damaged score": (lambda f: flip(f / "score.json"), "score.json: content changed"),
    "a damaged done mark": (lambda f: cut(f / DONE_NAME), "done.json: damaged"),
}


def test_sound_results_hold_and_nothing_is_written(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    result = verify(finished)
    assert (result.exit_code, result.stdout) == (0, "2 of 2 slides hold\n"), result.stderr
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_the_mark_withdrawn(finished: Path, name: str) -> None:
    damage, said = DAMAGE[name]
    folder = first_of(finished)
    damage(folder)
    kept = verify(finished, "--keep")
    assert (kept.exit_code, (folder / DONE_NAME).exists()) == (1, True)
    assert said in kept.stderr
    result = verify(finished)
    assert (result.exit_code, (folder / DONE_NAME).exists()) == (1, False)
    assert read_score(folder / "score.json").status == "failed"
    rows = (finished / "slides.csv").read_text().splitlines()
    assert next(row for row in rows if row.startswith("first-")).split(",")[2] == "failed"
    assert verify(finished).exit_code == 0  # what is withdrawn claims nothing


def test_the_next_run_mends_exactly_what_was_withdrawn_and_says_why(
    finished: Path, reference: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    flip(first_of(finished) / "cells.parquet")
    assert verify(finished, "first").exit_code == 1
    events: list[Event] = []
    summary = run_archive([slides], finished, configure(scheduler), on_event=events.append)
    assert [record.outcome for record in summary.records] == ["scored", "already_done"]
    assert [e.message for e in events if e.kind == "slide_started"] == [
        "computed again: `ki67 verify` withdrew it (cells.parquet: content changed "
        "(sha256 differs))"
    ]
    assert result_bytes(finished) == result_bytes(reference)


def test_unknown_files_are_told_and_harm_nothing(finished: Path) -> None:
    (first_of(finished) / "notes.txt").write_text("mine")
    result = verify(finished)
    assert result.exit_code == 0
    assert "/notes.txt" in result.stderr


def test_files_of_the_batch_are_verified_and_the_table_is_put_right(finished: Path) -> None:
    table = finished / "slides.csv"
    sound = table.read_text()
    table.write_text(sound.replace(",ok,", ",failed,", 1))
    cut(next((finished / "runs").glob("*.json")))
    result = verify(finished)
    assert result.exit_code == 1
    assert "slides.csv: first-" in result.stderr
    assert "runs/" in result.stderr
    assert table.read_text() == sound


def test_nothing_is_withdrawn_while_a_run_holds_the_folder(finished: Path) -> None:
    folder = first_of(finished)
    with locked(finished):
        assert verify(finished).exit_code == 0
        flip(folder / "cells.parquet")
        table = finished / "slides.csv"
        table.write_text(table.read_text().replace(",ok,", ",failed,", 1))
        held = verify(finished)
        assert held.exit_code == 3
        # that run writes the table at its end
        assert "slides.csv" not in held.stderr
    assert (folder / DONE_NAME).exists()


def test_json_names_state_and_problems(finished: Path) -> None:
    flip(first_of(finished) / "cells.parquet")
    found = json.loads(verify(finished, "--json").stdout)
    assert not found["holds"]
    assert [slide["state"] for slide in found["slides"]] == ["damaged", "holds"]
    assert found["slides"][0]["withdrawn"]


def test_another_folder_and_an_unknown_slide_are_usage_errors(
    tmp_path: Path, finished: Path
) -> None:
    assert verify(tmp_path / "none").exit_code == 2
    nobody = verify(finished, "nobody")
    assert (nobody.exit_code, "--json` lists them" in nobody.stderr) == (2, True)
