import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.synthetic_batch import make_batch
from pipeline.cli.report import report
from pipeline.core.qc.flags import FLAGS
from pipeline.errors import OutputError
from pipeline.io.done import write_done
from pipeline.io.results import read_score, write_score
from pipeline.report import html
from pipeline.report.html import write_report
from pipeline.report.words import FLAG_WORDS
from tests.report.batches import CAVEAT, add_slide


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen slides of every status, with pictures, all keys of the score known."""
    out = tmp_path_factory.mktemp("batch")
    make_batch(out, 14, looks=1, category=True)
    return out


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text of table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self._in_body = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += f" {data.strip()}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


def page_of(out: Path) -> tuple[str, Page]:
    text = write_report(out).read_text(encoding="utf-8")
    return text, Page(text)


def test_the_report_needs_no_network_and_allows_only_its_own_script(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1", pictures=True)
    text, page = page_of(tmp_path)
    (policy,) = [
        meta["content"] or ""
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, word in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{word} 'sha256-{digest}'" in policy
    assert not re.findall(r"https?://", text)
    assert all((image["src"] or "").startswith("data:image/webp") for image in page.all("img"))
    assert not any("style" in attributes for _, attributes in page.tags)
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)


def test_names_and_reasons_are_text_never_markup(tmp_path: Path) -> None:
    nasty = "<script>alert('x')</script>&\"'"
    add_slide(tmp_path, "a-1", name=nasty, reason=nasty, status="too_few_cells")
    text, page = page_of(tmp_path)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in text
    assert any(nasty in row for row in page.rows)


def test_failed_slides_come_first_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    add_slide(tmp_path, "b-1", status="ok_with_flags", flags=("unreadable_tiles",))
    add_slide(tmp_path, "c-1", status="failed", reason="c-1.svs: no mpp in metadata; pass --mpp")
    text, page = page_of(tmp_path)
    slides = [row for row in page.rows if ".svs" in row]
    assert ["c-1.svs" in slides[0], "b-1.svs" in slides[1], "a-1.svs" in slides[2]] == [True] * 3
    assert "no mpp in metadata; pass --mpp" in text
    assert "--retry-failed" in text
    assert "Part of the tissue could not be read" in text


def test_the_banner_counts_slides_and_names_model_caveat_and_use(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    add_slide(tmp_path, "b-1", status="failed", reason="x")
    (tmp_path / "slides" / "c-1" / ".work").mkdir(parents=True)
    text, _ = page_of(tmp_path)
    squeezed = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text))
    for words in ("2 slides", "1 ok", "1 failed", "1 not done yet", CAVEAT, "m (abababababab)"):
        assert words in squeezed
    assert "For research use only" in text
    assert "mixes results" not in text


def test_two_models_in_one_table_are_said_aloud(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1", weights="m")
    add_slide(tmp_path, "b-1", weights="n")
    text, _ = page_of(tmp_path)
    assert "mixes results of 2 models" in text


def test_no_cell_is_no_index(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1", status="no_tissue", positive=0, negative=0, reason="no tissue")
    text, _ = page_of(tmp_path)
    assert "0 of 0 is not 0 %" in text
    assert "0.0 %" not in text


def test_a_damaged_score_is_a_failed_slide_and_hides_no_other(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    folder = add_slide(tmp_path, "b-1")
    (folder / "score.json").write_text("{")
    text, page = page_of(tmp_path)
    assert "no score of schema 1" in text
    assert any("a-1.svs" in row for row in page.rows)


def test_a_slide_that_is_done_and_lost_its_score_is_a_failed_slide(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    folder = add_slide(tmp_path, "b-1")
    write_done(folder, {})
    (folder / "score.json").unlink()
    text, page = page_of(tmp_path)
    assert any("b-1" in row and "failed" in row for row in page.rows)
    assert "score.json" in text


def test_a_missing_result_file_is_shown(tmp_path: Path) -> None:
    folder = add_slide(tmp_path, "a-1")
    (folder / "cells.parquet").unlink()
    assert "file of cells is missing" in page_of(tmp_path)[0]


def test_a_damaged_picture_does_not_stop_the_report(tmp_path: Path) -> None:
    folder = add_slide(tmp_path, "a-1")
    (folder / "thumbnail.jpg").write_bytes(b"no picture")
    assert page_of(tmp_path)[1].all("img") == []


def test_the_twin_says_the_same_to_a_machine(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    add_slide(tmp_path, "b-1", status="failed", reason="=1+1")
    write_report(tmp_path)
    twin = json.loads((tmp_path / "report_data" / "slides.json").read_text())
    assert [slide["slide"]["id"] for slide in twin] == ["b-1", "a-1"]
    with (tmp_path / "report_data" / "slides.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["slide_id"] for row in rows] == ["b-1", "a-1"]
    assert rows[0]["reason"] == "'=1+1"


def test_the_same_results_give_the_same_report(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1", pictures=True)
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_a_folder_without_results_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no results here"):
        write_report(tmp_path)


def test_the_command_builds_report_and_qupath_pack_from_files_alone(tmp_path: Path) -> None:
    add_slide(tmp_path / "out", "a-1")
    result = CliRunner().invoke(report, [str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "1 slide: " in result.output
    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "out" / "qupath" / "a-1.cells.csv.gz").is_file()


def test_the_command_is_imported_without_the_libraries_it_uses() -> None:
    code = (
        "import sys, pipeline.cli.report;"
        "sys.exit(any(name in sys.modules for name in ('pyarrow', 'jinja2', 'zarr', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def scores(out: Path) -> dict[str, Any]:
    paths = sorted(out.glob("slides/*/score.json"))
    return {path.parent.name: json.loads(path.read_bytes()) for path in paths}


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "report_data" / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_twin_equals_the_score_files(batch: Path) -> None:
    write_report(batch)
    truth = scores(batch)
    twin = json.loads((batch / "report_data" / "slides.json").read_text())
    assert {slide["slide"]["id"]: slide for slide in twin} == truth
    spots = table(batch, "hotspots.csv")
    assert len(spots) == sum(len(score["hotspots"]) for score in truth.values()) > 0
    for row in spots:
        spot = truth[row["slide_id"]]["hotspots"][int(row["rank"]) - 1]
        assert float(row["index_pct"]) == spot["index_pct"]
        assert float(row["expected_max_if_uniform_pct"]) == spot["expected_max_if_uniform_pct"]
    pieces = table(batch, "pieces.csv")
    assert len(pieces) == sum(len(score["pieces"]) for score in truth.values()) > 0
    failed = {row["slide_id"] for row in table(batch, "failures.csv")}
    assert failed == {name for name, score in truth.items() if score["status"] != "ok"}
    by_status = json.loads((batch / "report_data" / "batch.json").read_text())["by_status"]
    assert sum(by_status.values()) == len(truth)


def test_the_schema_names_every_column_and_every_key(batch: Path) -> None:
    write_report(batch)
    schema = json.loads((batch / "report_data" / "schema.json").read_text())
    for name in ("slides.csv", "hotspots.csv", "pieces.csv", "failures.csv"):
        first = (batch / "report_data" / name).read_text().splitlines()[0]
        assert first.split(",") == list(schema[name])
    keys = schema["slides.json"]["items"]["properties"]
    assert list(keys) == list(next(iter(scores(batch).values())))


def test_a_card_shows_layers_hotspots_exclusions_and_crops(batch: Path) -> None:
    text, page = page_of(batch)
    squeezed = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
    for words in ("By chance", "out of focus", "Excluded: pen", "Cells by lot", "Category"):
        assert words in squeezed
    classes = {tag["class"] for tag in page.all("path") if tag.get("class")}
    assert {"l-tissue", "l-excluded", "l-unreadable", "pos", "neg"} <= classes
    assert page.all("ellipse")
    assert any((tag.get("href") or "").startswith("data:image/webp") for tag in page.all("image"))
    assert page.all("line")
    assert sum("cutoff" in (line.get("class") or "") for line in page.all("line")) == 4


def test_a_card_is_below_300_kb(batch: Path) -> None:
    text, _ = page_of(batch)
    cards = text.split("<article")[1:]
    assert len(cards) == 14
    assert max(map(len, cards)) < 300_000


def test_what_is_not_known_is_a_dash_and_never_nought(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1")
    text, page = page_of(tmp_path)
    rows = {row.strip() for row in page.rows}
    for name in ("Excluded, mm²", "Unreadable, mm²", "Cells per mm²", "Unweighted mean"):
        assert any(row.startswith(name) and row[len(name) :].split()[0] == "–" for row in rows)
    assert not re.search(r">\s*(None|nan|null)\s*<", text)
    (slide,) = [row for row in page.rows if "a-1.svs" in row]
    assert slide.split("1.50")[1].split()[0] == "–"  # no hotspot


def test_many_slides_have_a_page_each_that_is_written_once(
    batch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "EMBEDDED_MOST", 10)
    text, page = page_of(batch)
    assert page.all("img") == []
    assert page.all("article") == []
    assert len(text) < 14 * 6000 + 60_000
    links = [link["href"] or "" for link in page.all("a") if "report_data" in (link["href"] or "")]
    assert {batch / link for link in links} == set(batch.glob("report_data/slides/*.html"))
    slide = Page((batch / links[-1]).read_text(encoding="utf-8"))
    for image in slide.all("img"):
        assert ((batch / links[-1]).parent / (image["src"] or "")).resolve().is_file()
    assert slide.all("img")
    before = {path: path.stat().st_mtime_ns for path in batch.glob("report_data/slides/*.html")}
    path = next(path for path in sorted(batch.glob("slides/*/score.json")))
    kept = read_score(path)
    write_score(path, kept.model_copy(update={"reason": "another"}))
    write_report(batch)
    write_score(path, kept)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.stem for path in before if before[path] != after[path]] == [kept.slide.id]


def test_every_flag_is_explained() -> None:
    assert {*FLAGS, "unreadable_tiles", "no_region_of_interest"} <= FLAG_WORDS.keys()
