"""A model that goes wrong, changes or was tampered with, and a report that cannot be written."""

import shutil
from pathlib import Path

import torch
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.io.results import read_scores
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.report.html import write_report
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from tests.faults.ki67 import begin
from tests.processes import ended
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes
from tests.run.tiny_network import save_tiny_network


def with_model(folder: Path) -> str:
    return f"prediction.model='{folder}'"


def test_a_network_that_gives_no_numbers_fails_the_slide_and_a_good_one_heals_it(
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    tiny_model: Path,
    scheduler: str,
    reference: Path,
) -> None:
    network, card = load_checkpoint(tiny_model)
    with torch.no_grad():
        network.head.finish.weight.fill_(3e38)
    save_checkpoint(tmp_path / "wild", network, card)
    out, slide = tmp_path / "out", slides / "second.tif"
    wild = run_archive([slide], out, configure(scheduler, with_model(tmp_path / "wild")))
    assert wild.exit_code == 1
    [record] = read_scores(out)
    assert (record.status, record.counts.total, record.ki67.index_pct) == ("failed", None, None)
    assert "the heatmap has values that are not finite" in (out / "slides.csv").read_text()
    assert not list(out.glob("slides/*/cells.*"))
    assert run_archive([slide], out, configure(scheduler)).exit_code == 0
    assert result_bytes(out) == result_bytes(reference, "second-")


def test_changed_weights_are_named_and_the_first_ones_give_the_first_bytes_again(
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    scheduler: str,
    reference: Path,
) -> None:
    out = shutil.copytree(reference, tmp_path / "out")
    for seed in (2, 1):
        model = save_tiny_network(tmp_path / "model", seed=seed)
        told: list[Event] = []
        config = configure(scheduler, with_model(model))
        summary = run_archive([slides / "second.tif"], out, config, on_event=told.append)
        assert [record.outcome for record in summary.records] == ["scored"]
        [reason] = [event.message for event in told if event.kind == "slide_started"]
        assert reason == "computed again: model weights, model card changed"
        assert (result_bytes(out) == result_bytes(reference)) is (seed == 1)


def test_tampered_weights_are_refused_in_a_line_and_no_slide_is_blamed(
    tmp_path: Path, slides: Path, tiny_model: Path
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = bytearray((model / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "weights.safetensors").write_bytes(weights)
    code, errors = ended(begin(slides, tmp_path / "out", str(model)))
    assert code == 2, errors
    [line] = errors.splitlines()
    assert line.startswith("ki67: error: ")
    assert "weights.safetensors" in line
    assert not list(tmp_path.glob("out/slides/*"))


def test_a_report_that_cannot_be_written_costs_no_score_and_is_made_later(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    page = tmp_path / "out" / "report.html"
    page.mkdir(parents=True)  # nothing can take its name
    told: list[Event] = []
    summary = run_archive(
        [slides / "second.tif"],
        tmp_path / "out",
        configure(scheduler),
        on_event=told.append,
        report=write_report,
    )
    assert summary.exit_code == 0
    [notice] = [event.message for event in told if event.kind == "notice"]
    assert notice.startswith("the report could not be written (")
    assert notice.endswith("every score is written, run the same command to try again")
    assert result_bytes(tmp_path / "out") == result_bytes(reference, "second-")
    page.rmdir()
    made = CliRunner().invoke(cli, ["report", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    assert "second.tif" in page.read_text(encoding="utf-8")
