"""Stored predictions give the same figures as the detector, and pictures and sweeps of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import cli
from pipeline.errors import AnnotationError
from pipeline.train.detection import Detection
from pipeline.train.evaluate import CRITERIA, FoundCells
from pipeline.train.evaluation_files import write_files
from pipeline.train.field_picture import COLOURS, outcome, write_field_picture
from pipeline.train.fields import Field
from pipeline.train.predictions import read_predictions, write_predictions
from pipeline.train.scoring import score_detection, score_sets


def make_field(seed: int, cells: int = 30) -> Field:
    rng = np.random.default_rng(seed)
    image = np.full((120, 160, 3), 230, np.uint8)
    x_px, y_px = rng.uniform(0, 160, cells), rng.uniform(0, 120, cells)
    label = rng.integers(0, 2, cells).astype(np.uint8)
    return Field(f"f/{seed}", f"g{seed}", image, x_px, y_px, label, 0.25)


def make_detection(fields: list[Field]) -> Detection:
    rng = np.random.default_rng(9)
    found = []
    for field in fields:
        moved = np.clip(field.x_px + rng.normal(0, 5, len(field.x_px)), 0, 159.9)
        score = rng.uniform(0.05, 1, len(moved)).astype(np.float32)
        found.append(FoundCells(moved, field.y_px, field.label, score))
    return Detection("tiny", 0.3, 0.05, classed=True, candidates=tuple(found))


FIELDS = [make_field(seed) for seed in range(4)]
DETECTION = make_detection(FIELDS)


def test_stored_predictions_give_the_same_figures_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    write_predictions(path, {"mine": (FIELDS, DETECTION)})

    again = read_predictions(path, {"renamed": FIELDS})["renamed"]

    assert score_detection(FIELDS, again) == score_detection(FIELDS, DETECTION)


def test_another_threshold_needs_no_network_but_candidates_above_the_floor() -> None:
    strict = DETECTION.at(0.8)

    assert sum(len(cells.label) for cells in strict.found) < sum(
        len(cells.label) for cells in DETECTION.found
    )
    with pytest.raises(AnnotationError, match=r"threshold=0.01: tiny kept candidates from 0.05 on"):
        DETECTION.at(0.01)


def test_the_sweep_holds_the_used_threshold_with_the_same_figures() -> None:
    scores = score_detection(FIELDS, DETECTION)
    used = next(row for row in scores["sweep"] if row["threshold"] == 0.3)

    assert used["f1_all"] == scores[CRITERIA[0].key]["f1_all"]
    assert [row["threshold"] for row in scores["sweep"]] == sorted(
        row["threshold"] for row in scores["sweep"]
    )


def test_groups_of_two_sets_with_one_name_stay_apart_when_all_are_scored() -> None:
    sets = {"a": FIELDS[:2], "b": FIELDS[:2]}

    scored = score_sets(sets, lambda _, some: make_detection(list(some)))

    assert [part.name for part in scored] == ["a", "b", "all"]
    assert scored[-1].figures[CRITERIA[0].key]["groups"] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": 3}, "holds no predictions"),
        ({"schema": 9}, "no predictions of the set 'mine'"),
        ({}, "f/3: .*|no predictions of the field 'f/3'"),
    ],
)
def test_predictions_that_do_not_fit_are_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "p.json"
    shorter = Detection("t", 0.3, 0.05, classed=True, candidates=DETECTION.candidates[:3])
    write_predictions(path, {"mine": (FIELDS[:3], shorter)})
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(AnnotationError, match=message):
        read_predictions(path, {"mine": FIELDS})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("mpp_um", 0.31, "had 0.31 um per pixel and now has"), ("y_px", [], "of different lengths")],
)
def test_predictions_of_another_field_are_refused(
    tmp_path: Path, name: str, value: Any, message: str
) -> None:
    path = tmp_path / "p.json"
    write_predictions(path, {"mine": (FIELDS, DETECTION)})
    stored = json.loads(path.read_text())
    stored["sets"]["mine"]["fields"][FIELDS[1].name][name] = value
    path.write_text(json.dumps(stored))

    with pytest.raises(AnnotationError, match=message):
        read_predictions(path, {"mine": FIELDS})


def test_pictures_of_names_that_look_alike_are_all_there(tmp_path: Path) -> None:
    names = ("Fall ä", "Fall ö", "a/b", "a_b", "A b")
    fields = [replace(FIELDS[0], name=name) for name in names]
    cells = DETECTION.candidates[:1] * len(names)
    write_files(
        tmp_path, score_sets({"m": fields}, lambda *_: replace(DETECTION, candidates=cells))
    )

    assert len(list((tmp_path / "pictures" / "m").iterdir())) == len(names)


def test_an_evaluation_writes_figures_predictions_sweep_and_a_picture_per_field(
    tmp_path: Path,
) -> None:
    scored = score_sets({"mine": FIELDS}, lambda *_: DETECTION)

    write_files(tmp_path, scored)

    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"evaluation.json", "evaluation.md", "predictions.json", "sweep-mine.png"} | {
        f"pictures/mine/f_{seed}.jpg" for seed in range(4)
    }


def test_a_picture_shows_each_outcome_in_its_place_and_class(tmp_path: Path) -> None:
    image = np.full((200, 200, 3), 235, np.uint8)
    field = Field(
        "f",
        "g",
        image,
        np.array([50.0, 150]),
        np.array([50.0, 50]),
        np.array([1, 0], np.uint8),
        0.25,
    )
    found = FoundCells(np.array([50.0, 100]), np.array([50.0, 150]), np.array([1, 0], np.uint8))
    result = outcome(field, found, CRITERIA[0])

    write_field_picture(tmp_path / "f.jpg", field, found, criterion=CRITERIA[0])

    assert (result.pairs.tolist(), result.missed.tolist(), result.false.tolist()) == (
        [[0, 0]],
        [1],
        [1],
    )
    with Image.open(tmp_path / "f.jpg") as opened:
        picture = np.asarray(opened.convert("RGB")).astype(int)
    for x, y, label in ((50, 50, 1), (150, 50, 0), (100, 150, 0)):
        part = picture[5 * y - 70 : 5 * y + 70, 5 * x - 70 : 5 * x + 70]
        near = np.abs(part - COLOURS[label]).sum(axis=2) < 60
        assert near.sum() > 100, (x, y)
    corner = np.abs(picture[700:980, 700:980] - COLOURS[0]).sum(axis=2) < 60
    assert not corner.any()


def evaluate(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["evaluate", *arguments])


def test_the_command_scores_stored_points_of_fields_without_images(tmp_path: Path) -> None:
    truth, said = tmp_path / "gt.txt", tmp_path / "said.txt"
    truth.write_text("1 2 30 40 5 10 1 90 40 5 10 1\n2 1 7 7 5 10 1\n")
    said.write_text("1 2 36 40 200 200\n")
    given = ("--fields", str(truth), "--kind", "paper_points", "--mpp", "0.3125")

    result = evaluate(*given, "--predictions", str(said), "--out", str(tmp_path / "out"))

    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["gt"]
    assert (scores["at_10_px512"]["f1_all"], scores["at_5_px512"]["f1_all"]) == (0.4, 0)
    assert scores["at_10_px512"]["count_mae"] == 0.5
    blank = evaluate(*given)
    assert (blank.exit_code, blank.output.count("\n")) == (2, 1)
    assert "only its points are known, no image; give --predictions" in blank.output
    alien = tmp_path / "alien.txt"
    alien.write_text("77 1 3 3\n")
    assert "line '77' fits no field" in evaluate(*given, "--predictions", str(alien)).output


def test_the_baseline_is_a_row_beside_the_model_and_stored_cells_need_no_network(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "fields", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(np.full((64, 64, 3), 235, np.uint8)).save(folder / "a.png")
    (folder / "points.csv").write_text("image,x,y,label\na.png,20,20,MIB+\n")
    given = ("--fields", str(folder), "--mpp", "0.5", "--label", "MIB+=positive")

    first = evaluate(*given, "--model", "classical", "--classical", "--out", str(out))
    again = evaluate(*given, "--predictions", str(out / "predictions.json"))

    assert first.exit_code == 0, first.output
    assert set(json.loads((out / "evaluation.json").read_text())) == {"fields", "fields, classical"}
    assert "| fields, classical | 1 |" in first.output
    assert again.exit_code == 0, again.output
    assert "| fields | 1 |" in again.output
