"""``ki67 agree``: files a person can read and a machine can, the same bytes each time."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.cli import cli

RANDOM = np.random.default_rng(5)
TRUTH = 100 / (1 + np.exp(-RANDOM.normal(-1.2, 1.0, 24)))
FOUND = np.clip(TRUTH * 1.05 + RANDOM.normal(0, 2, 24), 0, 100)
READERS = np.clip(TRUTH[:, None] + RANDOM.normal(0, 3, (24, 2)), 0, 100)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results and a table of two readers, one slide of which has no match."""
    out = tmp_path / "out"
    out.mkdir()
    rows = [f"s{i}-x,s{i}.svs,ok,{value:.4f},m,{'a' * 64}" for i, value in enumerate(FOUND)]
    header = "slide_id,name,status,index_pct,model,weights_sha256"
    (out / "slides.csv").write_text("\n".join([header, *rows]) + "\n")
    lines = [f"s{i},{a:.1f},{b:.1f}" for i, (a, b) in enumerate(READERS)]
    (tmp_path / "manual.csv").write_text("\n".join(["slide,<A> $x$,B", *lines, "nowhere,1,2"]))
    return out


def agree(results: Path, *extra: str) -> Result:
    arguments = ["agree", str(results), str(results.parent / "manual.csv"), *extra]
    return CliRunner().invoke(cli, arguments)


def test_every_output_is_there_and_says_the_same(results: Path) -> None:
    answer = agree(results, "--scheme", "ikwg_5_30")
    assert answer.exit_code == 0, answer.output
    assert "left out: nowhere (manual.csv line 26): no such slide" in answer.output
    out = results / "agreement"
    figures = json.loads((out / "agreement.json").read_text(encoding="utf-8"))
    first = figures["with_pipeline"][0]
    assert (first["first"], first["second"], first["n"]) == ("pipeline", "<A> $x$", 24)
    assert [entry["second"] for entry in figures["with_pipeline"]][-1] == "mean of readers"
    assert [entry["scheme"] for entry in first["by_scheme"]] == ["all cut-offs", "ikwg_5_30"]
    assert figures["left_out"][0]["what"] == "nowhere"
    icc = first["icc_agreement"]
    text = f"{icc['value']:.3f} [{icc['interval95'][0]:.3f}, {icc['interval95'][1]:.3f}]"
    assert text in (out / "agreement.md").read_text(encoding="utf-8")
    page = (out / "agreement.html").read_text(encoding="utf-8")
    assert text in page
    assert "<A>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_same_tables_give_the_same_bytes_and_a_plot_of_every_pair(results: Path) -> None:
    agree(results)
    first = {path.name: path.read_bytes() for path in (results / "agreement").iterdir()}
    agree(results, "--out", str(results / "again"))
    second = {path.name: path.read_bytes() for path in (results / "again").iterdir()}
    assert first == second
    plots = sorted((results / "agreement").glob("*.png"))
    assert len(plots) == 5  # each reader, their mean, the two readers, the coefficients
    for path in plots:
        with Image.open(path) as picture:
            assert picture.size[0] > 800
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10


def test_two_slides_give_reasons_instead_of_coefficients(results: Path) -> None:
    (results.parent / "manual.csv").write_text("slide,A\ns1,10\ns2,20\n")
    answer = agree(results)
    assert answer.exit_code == 0, answer.output
    figures = json.loads((results / "agreement" / "agreement.json").read_text(encoding="utf-8"))
    only = figures["with_pipeline"][0]
    assert only["icc_agreement"] == {
        "value": None,
        "interval95": None,
        "reason": "2 slides; at least 3 are needed",
    }
    assert only["closeness"]["mean_absolute_points"] is not None


def test_only_slides_that_are_compared_are_counted(results: Path) -> None:
    (results.parent / "manual.csv").write_text("slide,A\ns1,10\ns1,12\ns2,20\ns3,30\n")
    agree(results)
    text = (results / "agreement" / "agreement.md").read_text(encoding="utf-8")
    assert "Only 2 slides" in text


def test_a_file_name_needs_no_folder(results: Path) -> None:
    table = (results / "slides.csv").read_text()
    (results / "slides.csv").write_text(table.replace(",s1.svs,", ",2026/s1.svs,"))
    (results.parent / "manual.csv").write_text("slide,A\ns1.svs,10\ns2,20\n")
    answer = agree(results)
    assert "no such slide" not in answer.output
    figures = json.loads((results / "agreement" / "agreement.json").read_text(encoding="utf-8"))
    assert figures["with_pipeline"][0]["n"] == 2


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--cutoffs", "20,10"), "--cutoffs 20,10: write rising numbers between 0 and 100"),
        (("--scheme", "mine"), "--scheme mine: known are st_gallen_2013"),
        (("--column", "nothing"), "slides.csv: no column nothing"),
        (("--fraction",), "write the index as a share from 0 to 1, or leave --fraction out"),
        (("--reader", "C"), "no reader 'C'"),
        (("--status", "fine"), "'fine' is not one of 'ok', 'ok_with_flags'"),
        (("--status", "failed"), "manual.csv: none of its slides can be compared with slides.csv"),
        (("--out", ""), "'--out': is empty; name a folder"),
    ],
)
def test_a_wrong_option_is_one_line_with_exit_code_2(
    results: Path, extra: tuple[str, str], message: str
) -> None:
    answer = agree(results, *extra)
    assert answer.exit_code == 2
    assert message in answer.output
    assert not (results / "agreement").exists()
