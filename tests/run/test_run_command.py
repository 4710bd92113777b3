"""``ki67 run``: one line a slide, one line an error, the exit codes of the table."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.run.lock import locked
from tests.run.small_slides import stained_tissue, write_slide

SETTINGS = (
    "prediction.tile_core_px=128",
    "prediction.region_tiles=2",
    "tissue.margin_um=20",
    "score.min_cells=10",
)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["run", *map(str, words)])


def refusal(result: Result) -> str:
    """The one line of an error."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("command") / "case one.tif"
    return write_slide(path, stained_tissue(7, width=1300, height=1100))


@pytest.fixture(scope="module")
def flags(tiny_model: Path, scheduler: str) -> list[str]:
    settings = [word for pair in (*SETTINGS, scheduler) for word in ("--set", pair)]
    return ["--model", str(tiny_model), *settings]


@pytest.fixture(scope="module")
def first(
    tmp_path_factory: pytest.TempPathFactory, slide: Path, flags: list[str]
) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("out")
    return out, run(slide, "--out", out, *flags)


def test_a_finished_slide_is_one_line_with_its_index_and_interval(
    first: tuple[Path, Result],
) -> None:
    _, result = first
    assert result.exit_code == 0, result.stderr
    line = next(line for line in result.stderr.splitlines() if line.startswith("[1/1] "))
    assert line.startswith("[1/1] case one.tif: ok, Ki-67 ")
    assert " % (95 % CI " in line
    assert " positive + " in line
    assert "report.html" in result.stdout


def test_a_run_leaves_report_table_ledger_and_qupath_pack(first: tuple[Path, Result]) -> None:
    out, _ = first
    names = {path.name for path in out.iterdir()}
    assert names >= {"report.html", "report_data", "slides.csv", "ledger.sqlite", "qupath", "runs"}
    assert ".lock" not in names


def test_the_same_command_again_says_already_done(
    first: tuple[Path, Result], slide: Path, flags: list[str]
) -> None:
    out, _ = first
    result = run(slide, "--out", out, *flags)
    assert result.exit_code == 0
    assert "case one.tif: ok (already done), Ki-67 " in result.stderr


def test_json_is_one_object_a_slide_and_nothing_else(
    first: tuple[Path, Result], slide: Path, flags: list[str]
) -> None:
    out, _ = first
    result = run(slide, "--out", out, "--json", *flags)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["outcome"] for entry in told] == ["already_done"]
    assert told[0]["score"] == json.loads(next(out.glob("slides/*/score.json")).read_text())


def test_a_failed_slide_is_exit_code_1(tmp_path: Path, slide: Path, flags: list[str]) -> None:
    result = run(slide.with_name("missing.tif"), "--out", tmp_path, *flags)
    assert result.exit_code == 1
    assert "missing.tif: failed: cannot be read" in result.stderr


def test_an_output_folder_without_a_name_or_where_none_can_be_is_refused(
    tmp_path: Path, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unset = run(slide, "--out", "")
    assert (unset.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "'--out': is empty" in refusal(unset)
    nowhere = run(slide, "--out", "/proc/ki67/out")
    assert nowhere.exit_code == 2
    assert "no folder can be made there; choose another --out" in refusal(nowhere)


def test_an_unknown_setting_names_the_nearest(tmp_path: Path, slide: Path) -> None:
    result = run(slide, "--out", tmp_path / "out", "--set", "prediction.treshold=0.3")
    assert result.exit_code == 2
    assert "did you mean prediction.threshold?" in refusal(result)
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_refused_before_anything_is_written(
    tmp_path: Path, slide: Path
) -> None:
    result = run(slide, "--out", tmp_path / "out", "--model", "best")
    assert result.exit_code == 2
    assert "no model 'best'" in refusal(result)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_refused_before_the_start(
    tmp_path: Path, slide: Path, tiny_model: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = run(slide, "--out", tmp_path / "file" / "out", "--model", tiny_model)
    assert result.exit_code == 2
    assert "choose another --out" in refusal(result)


def test_a_folder_without_slides_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    result = run(tmp_path, "--out", tmp_path / "out", "--model", tiny_model)
    assert result.exit_code == 2
    assert "no slides in this folder" in refusal(result)


def test_a_second_run_in_the_same_folder_is_exit_code_3(
    tmp_path: Path, slide: Path, tiny_model: Path
) -> None:
    with locked(tmp_path):
        result = run(slide, "--out", tmp_path, "--model", tiny_model)
    assert result.exit_code == 3
    assert "another run holds it" in refusal(result)


def test_a_scheduler_over_the_network_without_tls_is_refused(
    tmp_path: Path, slide: Path, tiny_model: Path
) -> None:
    out = tmp_path / "out"
    result = run(slide, "--out", out, "--model", tiny_model, "--scheduler", "tcp://10.0.0.7:8786")
    assert result.exit_code == 2
    assert "without TLS" in refusal(result)
