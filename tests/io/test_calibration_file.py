"""A calibration's file: whole, the same bytes each time, refused for what it was not made for."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.errors import AnnotationError, ConfigError
from pipeline.io.calibration import calibration_path, read_calibration
from pipeline.io.counted_fields import join_counted_slides, read_counted_fields
from pipeline.io.score_join import read_slide_rows
from pipeline.model.card import load_card
from pipeline.model.zoo import resolve_model

MANUAL = ((8, 192), (20, 180), (40, 160), (60, 140), (90, 110), (120, 80), (10, 190), (30, 170))
FOUND = ((11, 160), (25, 150), (48, 130), (70, 110), (95, 85), (125, 62), (13, 158), (37, 140))
WEIGHTS = load_card(resolve_model("default")).weights_sha256
THRESHOLD = load_card(resolve_model("default")).threshold


def counts_csv(folder: Path, *, found: bool = True) -> Path:
    path = folder / "counts.csv"
    names = ["field", "manual_positive", "manual_negative"]
    names += ["found_positive", "found_negative"] if found else []
    rows = [
        ",".join(map(str, (f"s{n}", *manual, *(counts if found else ()))))
        for n, (manual, counts) in enumerate(zip(MANUAL, FOUND, strict=True))
    ]
    path.write_text("\n".join([",".join(names), *rows]) + "\n")
    return path


def run_folder(folder: Path, weights: str = WEIGHTS) -> Path:
    rows = [
        f"s{n}-ab,s{n}.svs,ok,{100 * p / (p + q):.4f},{p},{q},{weights},{THRESHOLD}"
        for n, (p, q) in enumerate(FOUND)
    ]
    header = "slide_id,name,status,index_pct,positive,negative,weights_sha256,threshold"
    (folder / "slides.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def calibrate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["calibrate", *map(str, arguments)])


def test_counts_become_a_file_that_corrects_the_index(tmp_path: Path) -> None:
    answer = calibrate(counts_csv(tmp_path), "--out", tmp_path / "c.json", "--name", "lab")
    assert answer.exit_code == 0, answer.output
    assert "8 fields in 8 groups" in answer.output
    stored = read_calibration(tmp_path / "c.json", weights_sha256=WEIGHTS, threshold=THRESHOLD)
    assert stored.name == "lab"
    # negatives are missed more often here, so the found index is too high
    index, (low, high) = stored.apply(25.0, (23.0, 27.0))
    assert low < index < high < 25.0
    assert stored.is_outside(90.0)
    record = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    errors = record["leave_one_group_out"]
    assert errors["mean_absolute_after"] < errors["mean_absolute_before"]
    assert record["weights_sha256"] == WEIGHTS
    assert len(record["by_group"]) == 8


def test_the_same_counts_give_the_same_bytes_from_a_table_or_a_run(tmp_path: Path) -> None:
    counts = counts_csv(tmp_path)
    for name in ("one.json", "two.json"):
        calibrate(counts, "--out", tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    table = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    manual = counts_csv(tmp_path, found=False)
    answer = calibrate(manual, "--run", run_folder(tmp_path), "--out", tmp_path / "run.json")
    assert answer.exit_code == 0, answer.output
    of_run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert of_run["parameters"] == table["parameters"]


def test_other_weights_or_another_threshold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    calibrate(counts_csv(tmp_path), "--out", path)
    with pytest.raises(ConfigError, match=r"made for the weights .*, these slides have bbbb"):
        read_calibration(path, weights_sha256="b" * 64, threshold=THRESHOLD)
    with pytest.raises(ConfigError, match=r"made with threshold .*, these slides have 0.77"):
        read_calibration(path, weights_sha256=WEIGHTS, threshold=0.77)
    answer = calibrate(
        counts_csv(tmp_path, found=False), "--run", run_folder(tmp_path, "c" * 64), "--out", path
    )
    assert answer.exit_code == 2
    assert "the run was scored with weights cccccccccccc" in answer.output


def test_a_missing_or_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_calibration(path, weights_sha256=WEIGHTS, threshold=THRESHOLD)
    calibrate(counts_csv(tmp_path), "--out", path)
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["parameters"]["log_slope"]
    for text in (json.dumps(record), path.read_text(encoding="utf-8")[:-40], "[]"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="make it again with `ki67 calibrate`"):
            read_calibration(path, weights_sha256=WEIGHTS, threshold=THRESHOLD)


def test_it_lies_beside_the_models_card_by_a_plain_name(tmp_path: Path) -> None:
    assert calibration_path(tmp_path, "lab-1") == tmp_path / "calibrations" / "lab-1.json"
    with pytest.raises(ConfigError, match="use letters, digits"):
        calibration_path(tmp_path, "../card")


def test_too_few_groups_write_nothing(tmp_path: Path) -> None:
    counts = counts_csv(tmp_path)
    counts.write_text("\n".join(counts.read_text(encoding="utf-8").splitlines()[:5]))
    answer = calibrate(counts, "--out", tmp_path / "c.json")
    assert answer.exit_code == 2
    assert "count at least 6 slides or cases" in answer.output
    assert not (tmp_path / "c.json").exists()


def test_why_slides_are_left_out_is_told_before_there_are_too_few(tmp_path: Path) -> None:
    path = tmp_path / "manual.csv"
    path.write_text("slide,manual_positive,manual_negative\nzz,40,800\n")
    answer = calibrate(path, "--run", run_folder(tmp_path), "--out", tmp_path / "c.json")
    assert answer.exit_code == 2
    assert "left out: zz (manual.csv line 2): no such slide in the run" in answer.output


def test_a_place_that_is_no_file_and_a_wrong_name_are_one_line(tmp_path: Path) -> None:
    onto = calibrate(counts_csv(tmp_path), "--out", tmp_path)
    assert (onto.exit_code, "is no file" in onto.output) == (2, True)
    named = calibrate(counts_csv(tmp_path), "--out", tmp_path / "c.json", "--name", "../evil")
    assert (named.exit_code, "use letters, digits" in named.output) == (2, True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,g,1,2,3", "no column found_negative"),
        ("x,g,1,-2,3,4", "'-2' cells cannot be"),
        ("x,g,1,2.5,3,4", "'2.5' cells cannot be"),
        ("x,g,1,,3,4", "no count; write the number of cells, 0 for none"),
        ("x,g,1,2,3,4\nx,g,1,2,3,4", "field 'x' stands twice"),
        (",g,1,2,3,4", "a line names no field"),
    ],
)
def test_wrong_counts_are_refused_with_the_remedy(tmp_path: Path, row: str, message: str) -> None:
    names = "field,group,manual_positive,manual_negative,found_positive,found_negative"
    header = ",".join(names.split(",")[: row.split("\n")[0].count(",") + 1])
    path = tmp_path / "counts.csv"
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(AnnotationError, match=message):
        read_counted_fields(path)


def test_columns_of_an_evaluation_and_of_cases_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(
        "name,case,true_positive,true_negative,found_positive,found_negative\na,c1,1,2,3,4\n"
        "b,,5,6,7,8\n"
    )
    first, second = read_counted_fields(path).fields
    assert (first.group, second.group) == ("c1", "b")
    assert (first.manual_positive, second.found_negative) == (1, 8)


def test_slides_that_the_run_lacks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "manual.csv"
    path.write_text("slide,manual_positive,manual_negative\ns1,5,90\nzz,4,80\n")
    counted = join_counted_slides(path, read_slide_rows(run_folder(tmp_path)))
    assert [field.name for field in counted.fields] == ["s1"]
    assert counted.left_out[0].startswith("zz (manual.csv line 3): no such slide in the run")
    assert counted.weights_sha256 == WEIGHTS
    assert counted.threshold == THRESHOLD


def test_a_slide_that_is_named_in_two_ways_is_not_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "manual.csv"
    path.write_text("slide,manual_positive,manual_negative\ns1,5,90\ns2,5,90\ns1.svs,4,80\n")
    with pytest.raises(AnnotationError, match=r"lines 2 and 4 mean the same slide \(s1-ab\)"):
        join_counted_slides(path, read_slide_rows(run_folder(tmp_path)))


def test_a_run_is_calibrated_at_its_own_threshold_only(tmp_path: Path) -> None:
    call = (counts_csv(tmp_path, found=False), "--run", run_folder(tmp_path))
    path = tmp_path / "c.json"
    answer = calibrate(*call, "--out", path, "--threshold", "0.35")
    assert answer.exit_code == 2
    assert f"the run counted its cells at {THRESHOLD:g}" in answer.output
    assert not path.exists()
    assert calibrate(*call, "--out", path, "--threshold", str(THRESHOLD)).exit_code == 0


def test_annotated_fields_are_counted_with_the_model(tmp_path: Path) -> None:
    answer = calibrate("--fields", tmp_path, "--out", tmp_path / "c.json")
    assert answer.exit_code == 2
    assert "--mpp is needed with --fields" in answer.output
    both = calibrate(counts_csv(tmp_path), "--fields", tmp_path)
    assert "give either FIELDS.csv or --fields" in both.output
