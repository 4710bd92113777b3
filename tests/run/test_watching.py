"""A run is watched while it goes on: page, progress, metrics, report, logs; and stays silent."""

import json
import logging
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from bokeh.client import pull_session
from bokeh.models.widgets import Div
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli import cli
from pipeline.config import RunConfig
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from pipeline.run.watching.board import ProgressBoard
from pipeline.run.watching.server import PATIENCE_S, served
from tests.run.small_slides import stained_tissue, write_slide

Configure = Callable[..., RunConfig]
KEYS = {
    "schema",
    "run_id",
    "started",
    "seconds",
    "ended",
    "eta_s",
    "workers",
    "slides",
    "regions",
    "cells",
    "cells_per_s",
    "mpx",
    "mpx_per_s",
    "stage_seconds",
    "failures",
    "now",
}
STAGES = {"finalise", "forward", "measure", "prepare", "read", "settle", "write"}


def fetched(address: str, host: str | None = None) -> str:
    headers = {} if host is None else {"Host": host}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(answer.read().decode())


def test_a_run_shows_page_progress_and_metrics_while_it_goes_on(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str
) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\x00 no slide")
    config = configure(
        scheduler,
        "cluster.dashboard=true",
        "watching.port=0",
        "watching.performance_report=true",
    )
    seen: list[tuple[str, dict[str, Any]]] = []
    pages: list[str] = []
    links: list[str] = []

    def look(event: Event) -> None:
        if event.kind == "run_started":
            links.append(event.message)
            session = pull_session(url=event.message)
            shown = session.document.select({"type": Div})
            texts = [str(div.text) for div in shown if isinstance(div, Div)]
            session.close()
            pages.append(" ".join(texts))
        if event.kind in ("region_done", "slide_done"):
            seen.append((event.kind, json.loads(fetched(f"{links[0]}/progress.json?limit=9"))))
        if event.kind == "slide_done" and event.done == event.total:
            pages.append(fetched(links[0].replace("/slides", "/metrics")))

    summary = run_archive([slides, broken], tmp_path / "out", config, on_event=look)
    assert links[0].startswith("http://127.0.0.1:")
    assert "of 3 slides" in pages[0]
    for _, progress in seen:
        assert set(progress) == KEYS | {"rows"}
        assert progress["slides"]["total"] == len(progress["rows"]) == 3
    during = next(progress for kind, progress in seen if kind == "region_done")
    assert during["slides"]["regions"] >= 1
    last = seen[-1][1]
    assert last["slides"]["failed"] == len(last["failures"]) == 1
    assert last["cells"] == sum(r.score.counts.total or 0 for r in summary.records)
    assert set(last["stage_seconds"]) == STAGES
    assert last["workers"] == 2
    families = {family.name: family for family in text_string_to_metric_families(pages[1])}
    assert families["ki67_slide_failures"].samples[0].value == 1
    with pytest.raises(OSError, match="refused"):
        fetched(f"{links[0]}/progress.json")
    report = tmp_path / "out" / "runs" / f"{summary.run_id}.performance.html"
    assert "Bokeh" in report.read_text(encoding="utf-8")


def test_another_host_name_is_refused_and_a_named_proxy_is_not() -> None:
    board = ProgressBoard()
    with served(board, port=0, origins=("slides.example.org",)) as page:
        link = page.link
        port = link.split(":")[2].split("/")[0]
        for path in ("/progress.json", "/../metrics"):
            address = link + path if path.startswith("/p") else link.replace("/slides", "/metrics")
            with pytest.raises(HTTPError, match="403"):
                fetched(address, host=f"rebound.example.com:{port}")
            assert fetched(address, host="slides.example.org")
            assert fetched(address, host=f"localhost:{port}")
        with pytest.raises(HTTPError, match="400"):
            fetched(f"{link}/progress.json?limit=-1")


def test_a_port_that_is_taken_is_left_for_a_free_one() -> None:
    with served(ProgressBoard(), port=0) as one:
        taken = int(one.link.split(":")[2].split("/")[0])
        with served(ProgressBoard(), port=taken) as other:
            assert one.link != other.link
            assert json.loads(fetched(f"{other.link}/progress.json"))["schema"] == 1


def test_a_page_that_nobody_waited_for_closes_at_once() -> None:
    began = time.monotonic()
    with served(ProgressBoard(), port=0) as page:
        port = int(page.link.split(":")[2].split("/")[0])
    assert time.monotonic() - began < PATIENCE_S
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def command(flags: list[str], *words: str | Path) -> Any:
    return CliRunner().invoke(cli, ["run", *map(str, words), *flags])


@pytest.fixture
def flags(tiny_model: Path, scheduler: str) -> list[str]:
    settings = ("prediction.tile_core_px=128", "tissue.margin_um=20", "inputs.settle_s=0")
    pairs = (*settings, "cluster.dashboard=false", scheduler)
    words = [word for pair in pairs for word in ("--set", pair)]
    return ["--model", str(tiny_model), *words]


def test_a_log_has_no_names_and_no_paths_unless_asked(tmp_path: Path, flags: list[str]) -> None:
    patient = tmp_path / "archive" / "Mueller, Anna 1950"
    patient.mkdir(parents=True)
    slide = write_slide(patient / "Anna Mueller.tif", stained_tissue(7, width=1300, height=1100))
    (patient / "Berta Maier.tif").write_bytes(b"II*\x00 no slide")
    file, out = tmp_path / "log" / "ki67.jsonl", tmp_path / "results of Anna"
    before = list(logging.getLogger().handlers)
    words = (tmp_path / "archive", patient / "Clara Koch.svs", "--out", out, "--log-file", file)
    result = command(flags, *words, "--log-json")
    assert result.exit_code == 1, result.output
    assert logging.getLogger().handlers == before
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines
    for word in ("Mueller", "Anna", "Berta", "Maier", "Clara", "Koch", str(tmp_path), "archive"):
        assert word not in result.stderr, word
    assert lines[0]["event"] == "run_started"
    assert lines[-1]["event"] == "run_finished"
    assert lines[-1]["outcomes"] == {"failed": 2, "scored": 1}
    ended = [line for line in lines if line["event"] == "slide_done"]
    assert {line["outcome"] for line in ended} == {"scored", "failed"}
    assert all(re.fullmatch(r"[0-9a-f]{8}", line["slide_id"]) for line in ended)
    assert all(line["reason"] for line in ended if line["outcome"] == "failed")
    again = command(flags, slide, "--out", out, "--log-json", "--log-paths")
    assert "Anna Mueller" in again.stderr or "Anna_Mueller" in again.stderr


def test_a_refusal_is_one_line_of_json_without_a_path(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = command([], tmp_path / "Anna", "--out", out, "--log-json", "--model", "best")
    (line,) = [json.loads(line) for line in result.stderr.splitlines()]
    assert (line["event"], line["exit_code"], result.exit_code) == ("run_stopped", 2, 2)
    assert str(tmp_path) not in result.stderr


def test_the_last_line_counts_failures_by_reason(tmp_path: Path, flags: list[str]) -> None:
    missing = [tmp_path / f"slide{number}.svs" for number in range(3)]
    result = command(flags, *missing, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "3 failed (3 x cannot be read" in result.stdout


def test_without_a_log_only_the_lines_for_people_are_printed(tmp_path: Path) -> None:
    command_line = [sys.executable, "-m", "pipeline", "run", str(tmp_path), "--out"]
    done = subprocess.run([*command_line, str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if not line.startswith("ki67: ")] == []
