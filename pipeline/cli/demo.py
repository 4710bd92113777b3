"""``ki67 demo``: make a slide whose cells are known, run it, compare, say where to look."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pipeline import __version__
from pipeline.cli.comparison import MATCH_RADIUS_UM, classical_cells, compare
from pipeline.cli.demo_slides import DemoSlide, real_slides, synthetic_slide
from pipeline.cli.paths import OutputPath
from pipeline.cli.progress import progress_view
from pipeline.config import RunConfig, load_config
from pipeline.io.cells import read_cells
from pipeline.io.files import make_folder, write_json_atomic
from pipeline.model.card import load_card
from pipeline.model.zoo import resolve_model
from pipeline.run.archive import run_archive
from pipeline.run.events import RunSummary

FIGURES_NAME = "demo.json"


@click.command("demo")
@click.option(
    "--out",
    default="demo",
    show_default=True,
    type=OutputPath(),
    help="Output folder.",
)
@click.option(
    "--size",
    default=6000,
    show_default=True,
    type=click.IntRange(1024, 200_000),
    help="Side of the synthetic slide in pixels of 0.25 um.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Which slide.")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes; default: a core and 2 GiB each."
)
@click.option("--model", default="default", show_default=True, help="A name or a folder.")
@click.pass_context
def demo(
    ctx: click.Context, *, out: Path, size: int, seed: int, workers: int | None, model: str
) -> None:
    """Make a synthetic Ki-67 slide with known cells, score it and compare.

    The classical detector (stain separation and Laplacian of Gaussian) runs beside the network.
    Real held-out fields are added where KI67_DATA names their folder. The same command again
    finds everything done.
    """
    config = _settings(model, workers)
    card = load_card(resolve_model(config.prediction.model))
    make_folder(out)
    synthetic = synthetic_slide(out / "input", size, seed, workers or os.cpu_count() or 1)
    real, missing = real_slides(out / "input", card)
    slides = [synthetic, *real]
    earlier = _earlier(out)
    began = time.monotonic()
    summary = _run(slides, out, config)
    speed = _speed(summary, time.monotonic() - began) or earlier.get("speed")
    figures = list(_figures(slides, summary, config, out, earlier))
    value = {
        "schema": 1,
        "version": __version__,
        "match_radius_um": MATCH_RADIUS_UM,
        "slides": figures,
        "missing": missing,
        "speed": speed,
    }
    write_json_atomic(out / FIGURES_NAME, value)
    _show(value)
    click.echo(_where_to_look(summary, out))
    ctx.exit(int(any(record.failed for record in summary.records)))


def _settings(model: str, workers: int | None) -> RunConfig:
    pairs = [f"prediction.model={json.dumps(model)}", "cluster.dashboard=false"]
    return load_config(None, [*pairs, *([f"cluster.workers={workers}"] if workers else [])])


def _run(slides: list[DemoSlide], out: Path, config: RunConfig) -> RunSummary:
    progress = progress_view()
    with progress:
        return run_archive(
            [slide.path for slide in slides],
            out,
            config,
            on_event=progress.tell,
            report=_report,
        )


def _report(out: Path) -> object:
    from pipeline.report.html import write_report

    return write_report(out)


def _figures(
    slides: list[DemoSlide],
    summary: RunSummary,
    config: RunConfig,
    out: Path,
    earlier: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Give one JSON object a scored slide; the classical figures of an earlier demo are kept."""
    kept = {slide["key"]: slide["classical"] for slide in earlier.get("slides", [])}
    records = {Path(record.name).name: record for record in summary.records}
    for slide in slides:
        record = records[slide.path.name]
        mpp = record.score.slide.mpp
        if record.failed or mpp is None:
            continue
        known = slide.known_cells()
        found = read_cells(out / "slides" / record.slide_id / "cells.parquet")
        key = f"{record.score.slide.fingerprint} {__version__}"
        if key not in kept:
            click.echo(f"{slide.path.name}: the classical detector", err=True)
            classical = classical_cells(slide.path, config.slides)
            kept[key] = compare(classical, known, mpp).as_json()
        yield {
            "slide_id": record.slide_id,
            "title": slide.title,
            "key": key,
            "known": compare(known, known, mpp).as_json(),
            "network": compare(found, known, mpp).as_json(),
            "classical": kept[key],
        }


def _speed(summary: RunSummary, seconds: float) -> dict[str, float] | None:
    """Tissue a minute over the whole run, its start included; None where all was done before."""
    if any(record.outcome != "scored" for record in summary.records):
        return None
    tissue = sum(record.score.area_mm2.analysed or 0.0 for record in summary.records)
    return {"tissue_mm2": tissue, "seconds": seconds, "mm2_per_minute": 60 * tissue / seconds}


def _earlier(out: Path) -> dict[str, Any]:
    """Read what an earlier demo of this version wrote."""
    try:
        value = json.loads((out / FIGURES_NAME).read_text(encoding="utf-8"))
        return dict(value) if value["version"] == __version__ else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _show(value: dict[str, Any]) -> None:
    console = Console()
    for entry in value["slides"]:
        console.print(_table(entry))
    for line in value["missing"]:
        console.print(line, markup=False, highlight=False)
    speed = value["speed"]
    if speed:
        console.print(
            f"{speed['tissue_mm2']:.2f} mm2 of tissue in {speed['seconds']:.0f} s: "
            f"{speed['mm2_per_minute']:.1f} mm2 a minute",
            highlight=False,
        )


def _table(entry: dict[str, Any]) -> Table:
    table = Table(title=entry["title"], title_justify="left")
    table.add_column("")
    for name in ("known", "network", "classical"):
        table.add_column(name, justify="right")
    columns = [entry[name] for name in ("known", "network", "classical")]
    for label in ("positive", "negative"):
        table.add_row(f"{label} cells", *(f"{column[label]:,}" for column in columns))
    for label, key in (("all cells", "all"), ("positive", "positive"), ("negative", "negative")):
        found = (_number(column[f"f1_{key}"], ".3f") for column in columns[1:])
        table.add_row(f"F1, {label}", "", *found)
    table.add_row("Ki-67 index, %", *(_number(column["index_pct"], ".1f") for column in columns))
    errors = (_number(column["index_error_points"], "+.1f") for column in columns[1:])
    table.add_row("index error, points", "", *errors)
    return table


def _number(value: float | None, form: str) -> str:
    return "not defined" if value is None else format(value, form)


def _where_to_look(summary: RunSummary, out: Path) -> str:
    done = all(record.outcome == "already_done" for record in summary.records)
    lines = ["already done: everything was there" if done else "done", "where to look:"]
    lines += [
        f"  report   {out / 'report.html'}",
        f"  QuPath   {out / 'qupath' / 'project.qpproj'}",
    ]
    for record in summary.records:
        if not record.failed:
            lines.append(f"  overlay  {out / 'slides' / record.slide_id / 'overlay.jpg'}")
    return "\n".join([*lines, f"  figures  {out / FIGURES_NAME}"])
