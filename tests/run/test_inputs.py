"""What a run does with its inputs: manifests, cases, slides that arrive, names of all kinds."""

import csv
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.config import RunConfig
from pipeline.io.done import verify_done
from pipeline.run.archive import run_archive
from pipeline.run.events import Event, RunSummary
from tests.run.small_slides import result_bytes, stained_tissue, write_slide

Configure = Callable[..., RunConfig]
Run = Callable[..., RunSummary]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(
        tmp_path_factory.mktemp("small") / "small.tif", stained_tissue(2, width=1300, height=1100)
    )


@pytest.fixture
def run(configure: Configure, scheduler: str) -> Run:
    def go(out: Path, *inputs: Path, pairs: tuple[str, ...] = (), **more: object) -> RunSummary:
        return run_archive(list(inputs), out, configure(scheduler, *pairs), **more)  # type: ignore[arg-type]

    return go


def outcomes(summary: RunSummary) -> dict[str, str]:
    return {record.name: record.outcome for record in summary.records}


def table(path: Path, key: str) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row[key]: row for row in csv.DictReader(file)}


def aged(path: Path, *, age_s: float) -> Path:
    changed = time.time() - age_s
    os.utime(path, (changed, changed))
    return path


@pytest.fixture
def archive(tmp_path: Path, small: Path) -> Path:
    """Three slides of two cases and a table of them."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for name in ("a", "b", "c", "d"):
        shutil.copy(small, folder / f"{name}.tif")
    (folder / "slides.csv").write_text(
        "slide,group,mpp,skip\na.tif,case 1,,\nb.tif,case 1,0.26,\nc.tif,=2+2,,\n"
        "d.tif,case 1,,wrong block\ngone.tif,case 3,,\n"
    )
    return folder


def test_a_manifest_makes_cases_that_survive_runs_without_it(
    tmp_path: Path, archive: Path, run: Run
) -> None:
    out = tmp_path / "out"
    summary = run(out, archive / "slides.csv")
    assert outcomes(summary) == {
        "a.tif": "scored",
        "b.tif": "scored",
        "c.tif": "scored",
        "d.tif": "skipped",
        "gone.tif": "failed",
    }
    assert summary.exit_code == 1
    slides = table(out / "slides.csv", "name")
    assert (slides["b.tif"]["mpp_x"], slides["b.tif"]["group"]) == ("0.26", "case 1")
    assert (slides["d.tif"]["status"], slides["d.tif"]["reason"]) == ("skipped", "wrong block")
    cases = table(out / "cases.csv", "case")
    assert list(cases) == ["'=2+2", "case 1", "case 3"]
    one = cases["case 1"]
    positive = int(slides["a.tif"]["positive"]) + int(slides["b.tif"]["positive"])
    total = int(slides["a.tif"]["total"]) + int(slides["b.tif"]["total"])
    assert (int(one["positive"]), int(one["total"])) == (positive, total)
    assert float(one["index_pct"]) == pytest.approx(100 * positive / total, abs=1e-4)
    scored = [name for name in ("a.tif", "b.tif") if slides[name]["index_pct"]]
    assert (one["slides"], one["slides_scored"]) == ("3", str(len(scored)))
    assert "slides_without_score" in one["flags"].split(";")

    before, files = (out / "cases.csv").read_bytes(), result_bytes(out)
    (archive / "d.tif").unlink()
    again = run(out, archive)
    assert outcomes(again)["b.tif"] == "scored"  # another mpp than the table's: predicted again
    assert table(out / "cases.csv", "case")["case 1"]["slides"] == "3"
    run(out, archive / "slides.csv")
    assert (out / "cases.csv").read_bytes() == before
    assert result_bytes(out) == files


def test_another_case_changes_a_done_slide_without_scoring_it_again(
    tmp_path: Path, archive: Path, run: Run
) -> None:
    out = tmp_path / "out"
    (archive / "slides.csv").write_text("slide\na.tif\n")
    run(out, archive / "slides.csv")
    assert not (out / "cases.csv").exists()
    (archive / "slides.csv").write_text("slide,group\na.tif,later\n")
    assert outcomes(run(out, archive / "slides.csv")) == {"a.tif": "already_done"}
    assert list(table(out / "cases.csv", "case")) == ["later"]
    (folder,) = (out / "slides").iterdir()
    assert verify_done(folder) == []
    assert outcomes(run(out, archive / "a.tif")) == {"a.tif": "already_done"}
    (out / "cases.csv").unlink()
    result = CliRunner().invoke(cli, ["score", str(out), "--force"])
    assert result.exit_code == 0, result.output
    assert list(table(out / "cases.csv", "case")) == ["later"]
    (out / "cases.csv").unlink()
    assert CliRunner().invoke(cli, ["report", str(out)]).exit_code == 0
    assert list(table(out / "cases.csv", "case")) == ["later"]
    (archive / "slides.csv").write_text("slide,group\na.tif,\n")
    run(out, archive / "slides.csv")
    assert not (out / "cases.csv").exists()


def test_a_region_of_a_row_is_used_and_a_missing_one_fails_its_slide_alone(
    tmp_path: Path, archive: Path, run: Run
) -> None:
    square = [[300, 250], [800, 250], [800, 700], [300, 700], [300, 250]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [square]},
        "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
    }
    (archive / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]})
    )
    (archive / "slides.csv").write_text("slide,roi\na.tif,a.geojson\nb.tif,no.geojson\nc.tif,\n")
    out = tmp_path / "out"
    summary = run(out, archive / "slides.csv")
    assert outcomes(summary) == {"a.tif": "scored", "b.tif": "failed", "c.tif": "scored"}
    slides = table(out / "slides.csv", "name")
    assert slides["a.tif"]["population"] == "roi"
    assert slides["a.tif"]["roi"] == "a.geojson"
    assert int(slides["a.tif"]["total"]) < int(slides["c.tif"]["total"])
    assert "no.geojson is not there" in slides["b.tif"]["reason"]
    result = CliRunner().invoke(cli, ["score", str(out), "--force"])
    assert result.exit_code == 0, result.output
    assert table(out / "slides.csv", "name")["a.tif"]["total"] == slides["a.tif"]["total"]


def test_a_young_slide_is_looked_at_again_and_done_if_nothing_changed(
    tmp_path: Path, small: Path, run: Run
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    aged(Path(shutil.copy(small, folder / "old.tif")), age_s=999)
    shutil.copy(small, folder / "young.tif")
    aged(Path(shutil.copy(small, folder / "future.tif")), age_s=-1e6)
    told: list[Event] = []
    summary = run(tmp_path / "out", folder, pairs=("inputs.settle_s=4",), on_event=told.append)
    assert set(outcomes(summary).values()) == {"scored"}
    ended = [event.slide_id for event in told if event.kind == "slide_done"]
    assert ended[0].startswith("old-")
    assert summary.exit_code == 0


def test_a_growing_slide_is_deferred_and_done_on_the_next_run(
    tmp_path: Path, small: Path, run: Run
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    aged(Path(shutil.copy(small, folder / "old.tif")), age_s=999)
    growing, stop = folder / "growing.tif", threading.Event()
    growing.write_bytes(small.read_bytes()[:1000])

    def grow() -> None:
        while not stop.wait(0.1):
            with growing.open("ab") as file:
                file.write(b"x")

    upload = threading.Thread(target=grow)
    upload.start()
    try:
        summary = run(out, folder, pairs=("inputs.settle_s=3",))
    finally:
        stop.set()
        upload.join()
    assert outcomes(summary) == {"growing.tif": "deferred", "old.tif": "scored"}
    assert summary.exit_code == 0
    row = table(out / "slides.csv", "name")["growing.tif"]
    assert row["status"] == "deferred"
    assert "may still be arriving" in row["reason"]

    shutil.copy(small, growing)
    aged(growing, age_s=999)
    summary = run(out, folder)
    assert outcomes(summary) == {"growing.tif": "scored", "old.tif": "already_done"}
    results = result_bytes(out)

    growing.touch()  # with a result, a slide that arrives anew keeps its row until it is done
    later = threading.Timer(0.5, lambda: growing.write_bytes(small.read_bytes() + b"x"))
    later.start()
    summary = run(out, folder, pairs=("inputs.settle_s=3",))
    later.join()
    assert outcomes(summary)["growing.tif"] == "deferred"
    assert table(out / "slides.csv", "name")["growing.tif"]["status"] != "deferred"
    assert result_bytes(out) == results


def test_a_slide_that_fails_while_it_changes_is_deferred_and_a_cut_one_fails(
    tmp_path: Path, small: Path, run: Run
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    cut = folder / "cut.tif"
    cut.write_bytes(small.read_bytes()[:20_000])
    arriving = folder / "arriving.tif"
    arriving.write_bytes(small.read_bytes()[:20_000])

    def grow(event: Event) -> None:
        if event.kind == "run_started":  # an old time of change, as copies that keep times have
            arriving.write_bytes(small.read_bytes()[:30_000])
            aged(arriving, age_s=999)

    for path in (cut, arriving):
        aged(path, age_s=999)
    summary = run(out, folder, pairs=("inputs.settle_s=30",), on_event=grow)
    assert outcomes(summary) == {"arriving.tif": "deferred", "cut.tif": "failed"}
    shutil.copy(small, cut)
    shutil.copy(small, arriving)
    assert set(outcomes(run(out, folder)).values()) == {"scored"}


def test_names_of_all_kinds_stay_inside_the_output_folder(
    tmp_path: Path, small: Path, run: Run
) -> None:
    folder = tmp_path / "in"
    names = (
        b"caf\xe9.tif",
        b"two\nlines.tif",
        b"=cmd.tif",
        b"\x1b[31mred.tif",
        b"n" * 240 + b".tif",
    )
    folder.mkdir()
    for name in names:
        shutil.copy(os.fsencode(small), os.fsencode(folder) + b"/" + name)
    (folder / "sub").mkdir()
    (folder / "sub" / "slides.csv").write_text('slide,group\n"../=cmd.tif",../../x\n')
    around = set(tmp_path.iterdir()) | {tmp_path / "out"}
    summary = run(tmp_path / "out", folder, folder / "sub" / "slides.csv")
    assert set(outcomes(summary).values()) == {"scored"}
    assert len(summary.records) == len(names)
    assert set(tmp_path.iterdir()) == around
    for path in (tmp_path / "out").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "out")
        assert path.name.isascii()
    rows = table(tmp_path / "out" / "slides.csv", "name")
    assert "'=cmd.tif" in rows
    assert not any("\x1b" in name or "\n" in name for name in rows)


def test_a_wrong_manifest_starts_nothing_and_tells_every_line(
    tmp_path: Path, archive: Path, tiny_model: Path
) -> None:
    (archive / "slides.csv").write_text("slide,mpp\na.tif,fast\nb.tif,99\n")
    words = ["run", str(archive / "slides.csv"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, [*words, "--model", str(tiny_model)])
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("ki67: ")]
    assert [line.split(",")[0] for line in lines] == [
        "ki67: error: slides.csv line 2",
        "ki67: error: slides.csv line 3",
    ]
    assert not (tmp_path / "out").exists()


def test_flags_choose_slides_by_pattern(tmp_path: Path, archive: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    words = ["run", str(archive), "--out", str(out), "--model", str(tiny_model)]
    result = CliRunner().invoke(cli, [*words, "--include", "x*", "--exclude", "old/**"])
    assert result.exit_code == 2
    assert "4 left out by inputs.include or inputs.exclude" in result.stderr
