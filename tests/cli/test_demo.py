"""The demonstration: it compares with the truth, resumes, and tells of a failed slide."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.cli import cli
from pipeline.cli.comparison import compare
from pipeline.cli.demo_slides import real_slides, synthetic_slide
from pipeline.io.cells import read_cells
from pipeline.model.card import ModelCard, load_card
from tests.run.tiny_network import save_tiny_network

SIZE = "1024"
SOURCE = {"name": "small", "kind": "points", "path": "small", "mpp_um": 0.5, "include": ["f*"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights that finds something."""
    return save_tiny_network(tmp_path_factory.mktemp("models") / "tiny")


def demo(out: Path, model: Path) -> Result:
    arguments = ["demo", "--out", str(out), "--size", SIZE, "--workers", "1", "--model", str(model)]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Result]:
    """One demonstration without real fields, and what it said."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("KI67_DATA", raising=False)
        return out, demo(out, model)


def figures(out: Path) -> Any:
    return json.loads((out / "demo.json").read_text())


def test_a_demonstration_prints_figures_of_both_detectors_and_where_to_look(
    first: tuple[Path, Result],
) -> None:
    _out, result = first
    assert result.exit_code == 0
    for words in ("synthetic slide", "known", "network", "classical", "index error, points"):
        assert words in result.stdout
    assert "mm2 a minute" in result.stdout
    assert "no real fields: the card of tiny names none held out" in result.stdout
    for line in result.stdout.splitlines():
        if line.startswith(("  overlay", "  figures")):
            assert Path(line.split(maxsplit=1)[1]).is_file()


def test_its_figures_are_those_of_the_files_it_wrote(first: tuple[Path, Result]) -> None:
    out, _ = first
    (entry,) = figures(out)["slides"]
    known = read_cells(out / "input" / f"synthetic-{SIZE}-1.truth.parquet")
    found = read_cells(out / "slides" / entry["slide_id"] / "cells.parquet")
    assert len(known) > 20
    assert entry["network"] == compare(found, known, (0.25, 0.25)).as_json()
    assert entry["known"]["f1_all"] == 1.0
    assert entry["known"]["positive"] == known.positive
    assert entry["classical"]["f1_all"] > 0.5


def test_the_same_command_again_finds_everything_done(
    first: tuple[Path, Result], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = first
    monkeypatch.delenv("KI67_DATA", raising=False)
    before = figures(out)
    result = demo(out, model)
    assert result.exit_code == 0
    assert "already done" in result.stdout
    assert "classical detector" not in result.stderr
    assert figures(out) == before


def test_a_failed_slide_is_told_and_gives_exit_code_1(
    tmp_path: Path, first: tuple[Path, Result], model: Path
) -> None:
    made = first[0] / "input"
    (tmp_path / "out" / "input").mkdir(parents=True)
    for path in made.iterdir():
        content = path.read_bytes()
        cut = content[: len(content) // 3] if path.suffix == ".tif" else content
        (tmp_path / "out" / "input" / path.name).write_bytes(cut)
    result = demo(tmp_path / "out", model)
    assert result.exit_code == 1
    assert f"synthetic-{SIZE}-1.tif: failed" in result.stderr
    assert figures(tmp_path / "out")["slides"] == []
    assert "already done" not in result.stdout


def test_a_slide_that_is_there_is_not_made_again(first: tuple[Path, Result]) -> None:
    path = first[0] / "input" / f"synthetic-{SIZE}-1.tif"
    before = path.stat().st_mtime_ns
    assert synthetic_slide(first[0] / "input", int(SIZE), 1, 1).path == path
    assert path.stat().st_mtime_ns == before


def card_naming(model: Path, *sources: dict[str, Any]) -> ModelCard:
    return load_card(model).model_copy(update={"training": {"held_out": list(sources)}})


def write_field(folder: Path, name: str) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pixels = np.full((90, 120, 3), 210, np.uint8)
    Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    table = folder / "points.csv"
    known = table.read_text() if table.is_file() else "image,x,y,label\n"
    table.write_text(f"{known}{name}.png,30,40,positive\n{name}.png,60,50,negative\n")


def test_real_fields_named_on_the_card_become_a_slide(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("f1", "f2", "other"):
        write_field(tmp_path / "fields" / "small", name)
    monkeypatch.setenv("KI67_DATA", str(tmp_path / "fields"))
    (slide,), missing = real_slides(tmp_path / "input", card_naming(model, SOURCE))
    assert missing == []
    assert slide.title == "2 real fields of small that the network never saw"
    assert (slide.known_cells().positive, slide.known_cells().negative) == (2, 2)
    (again,), _ = real_slides(tmp_path / "input", card_naming(model, {**SOURCE, "exclude": ["f2"]}))
    assert again.path != slide.path
    assert len(again.known_cells()) == 2


def test_missing_real_fields_are_told_and_hide_no_others(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_field(tmp_path / "fields" / "small", "f1")
    monkeypatch.setenv("KI67_DATA", str(tmp_path / "fields"))
    absent = {**SOURCE, "name": "absent", "path": "absent"}
    slides, missing = real_slides(tmp_path / "input", card_naming(model, absent, SOURCE))
    assert len(slides) == 1
    assert missing == ["no real fields: absent: there is no absent/points.csv"]
    painted = {**SOURCE, "name": "painted", "recolour": 2}
    assert real_slides(tmp_path / "input", card_naming(model, painted)) == (
        [],
        ["no real fields: those of painted are of another stain"],
    )
    monkeypatch.delenv("KI67_DATA")
    assert real_slides(tmp_path / "input", card_naming(model, SOURCE)) == (
        [],
        ["no real fields: set KI67_DATA to the folder that holds them"],
    )


def test_sizes_too_small_for_a_slide_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["demo", "--out", str(tmp_path), "--size", "100"])
    assert result.exit_code == 2
    assert "100 is not in the range" in result.stderr
