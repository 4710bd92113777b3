import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.report import report
from pipeline.core.points import CellPoints
from pipeline.core.scoring import wilson95
from pipeline.errors import OutputError
from pipeline.io.cells import write_cells
from pipeline.io.pictures import write_thumbnail
from pipeline.io.results import (
    AreaMm2,
    Counts,
    Ki67,
    Provenance,
    ScoreRecord,
    SlideIdentity,
    Status,
    write_score,
)
from pipeline.report.card import PictureBudget
from pipeline.report.html import write_report

CAVEAT = "nuclei resembling the tumour nuclei marked in training"


def add_slide(
    out: Path,
    slide_id: str,
    *,
    name: str = "",
    status: Status = "ok",
    reason: str | None = None,
    flags: tuple[str, ...] = (),
    positive: int = 30,
    negative: int = 70,
    weights: str = "m",
    pictures: bool = False,
) -> Path:
    folder = out / "slides" / slide_id
    total = positive + negative
    failed = status == "failed"
    record = ScoreRecord(
        slide=SlideIdentity(
            id=slide_id, name=name or f"{slide_id}.svs", width=1000, height=800, mpp=(0.25, 0.25)
        ),
        status=status,
        reason=reason,
        flags=flags,
        caveat=CAVEAT,
        area_mm2=AreaMm2() if failed else AreaMm2(tissue=2.0, analysed=1.5),
        counts=Counts() if failed else Counts(positive=positive, negative=negative, total=total),
        ki67=Ki67()
        if failed or not total
        else Ki67(index_pct=100 * positive / total, wilson95=wilson95(positive, total)),
        provenance=Provenance(weights=weights, weights_sha256="ab" * 32, version="0.1.0"),
    )
    write_score(folder / "score.json", record)
    if not failed:
        points = CellPoints(
            np.linspace(0, 900, total),
            np.linspace(0, 700, total),
            np.ones(total, np.float32),
            (np.arange(total) < positive).astype(np.uint8),
        )
        write_cells(folder / "cells.parquet", points, {})
    if pictures:
        noise = np.random.default_rng(0).integers(0, 256, (1100, 1600, 3), np.uint8)
        write_thumbnail(folder / "overlay.jpg", noise, side_px=1600)
        for stem in ("dense_1", "dense_2", "dense_3", "random_1", "random_2", "random_3"):
            write_thumbnail(folder / "crops" / f"{stem}.jpg", noise[:512, :512])
    return folder


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
    assert all((image["src"] or "").startswith("data:image/jpeg") for image in page.all("img"))
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


def test_a_missing_result_file_is_shown(tmp_path: Path) -> None:
    folder = add_slide(tmp_path, "a-1")
    (folder / "cells.parquet").unlink()
    assert "file of cells is missing" in page_of(tmp_path)[0]


def test_a_damaged_picture_does_not_stop_the_report(tmp_path: Path) -> None:
    folder = add_slide(tmp_path, "a-1")
    (folder / "overlay.jpg").write_bytes(b"no picture")
    assert page_of(tmp_path)[1].all("img") == []


@pytest.mark.parametrize(("slides", "most"), [(1, 300_000), (201, 40_000), (1001, 0)])
def test_pictures_keep_to_their_budget(slides: int, most: int) -> None:
    budget = PictureBudget.for_slides(slides)
    crops = 6 * budget.crop_bytes if budget.crop_px else 0
    overlay = budget.overlay_bytes if budget.overlay_px else 0
    assert (overlay + crops) * 4 / 3 <= most


def test_a_card_is_below_300_kb_whatever_the_pictures(tmp_path: Path) -> None:
    add_slide(tmp_path, "a-1", pictures=True)
    text, page = page_of(tmp_path)
    assert len(page.all("img")) == 7
    assert len(text) < 330_000
    for image in page.all("img"):
        content = base64.b64decode((image["src"] or "").partition(",")[2])
        Image.open(io.BytesIO(content)).verify()


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


@pytest.mark.slow
def test_a_browser_shows_it_without_a_complaint(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium here")
    add_slide(tmp_path, "a-1", pictures=True)
    page = write_report(tmp_path)
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--enable-logging=stderr",
    ]
    result = subprocess.run(
        [browser, *flags, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "a-1.svs" in result.stdout
    assert not re.findall(r"Refused to|CONSOLE", result.stderr)
