"""``ki67 preflight``: what a run would do, which slides will fail, how long, how much disk."""

import csv
import io
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipeline.cli.paths import OutputPath
from pipeline.config import load_config
from pipeline.io.files import write_text_atomic
from pipeline.io.results import text_cell
from pipeline.report.text import plural
from pipeline.run.preflight.outlook import Outlook
from pipeline.run.preflight.survey import Survey, survey

EXIT_WILL_FAIL = 1
_TEXT_COLUMNS = frozenset({"name", "reason", "vendor", "mpp_source"})


@click.command("preflight")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", type=OutputPath(), help="Output folder of the run; only read.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--workers", type=int, help="Worker processes of the run; default: as there.")
@click.option("--retry-failed", is_flag=True, help="As `ki67 run` would be called with it.")
@click.option("--read", "read_all", is_flag=True, help="Read every tile: finds damage, takes long.")
@click.option("--no-trial", is_flag=True, help="Measure no time and no disk: no model is loaded.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the table.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def preflight(
    inputs: tuple[str, ...],
    *,
    out: Path | None,
    config_file: Path | None,
    pairs: tuple[str, ...],
    workers: int | None,
    retry_failed: bool,
    read_all: bool,
    no_trial: bool,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Look at slides before a run: what will be done, what will fail and why, time and disk.

    Nothing is written into OUT. Exit code 0: nothing will fail; 1: some slides will; 2: the run
    would not start.
    """
    more = [] if workers is None else [f"cluster.workers={workers}"]
    config = load_config(config_file, [*pairs, *more])
    found = survey(
        inputs,
        config,
        out=out,
        retry_failed=retry_failed,
        read_all=read_all,
        trial=not no_trial,
    )
    if csv_file is not None:
        write_text_atomic(csv_file, table_text(found))
    if as_json:
        click.echo(json.dumps(as_plain(found), indent=2))
    elif sys.stdout.isatty():
        _print_table(found)
    else:
        for slide in found.slides:
            click.echo(slide_line(slide))
    if not as_json:
        for line in closing_lines(found):
            click.echo(line)
    click.get_current_context().exit(EXIT_WILL_FAIL if found.will_fail else 0)


def as_plain(found: Survey) -> dict[str, object]:
    """Plain values of everything that was found."""
    return {
        "slides": [asdict(slide) for slide in found.slides],
        "counts": found.counts,
        "expected_s": found.expected_s,
        "expected_bytes": found.expected_bytes,
        "free_bytes": found.free_bytes,
        "source": found.source,
        "notices": list(found.notices),
    }


def table_text(found: Survey) -> str:
    """All columns as CSV; free text that a spreadsheet would run gets a leading apostrophe."""
    names, text = [field.name for field in fields(Outlook)], io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for slide in found.slides:
        row = asdict(slide)
        writer.writerow(
            {name: text_cell(row[name]) if name in _TEXT_COLUMNS else row[name] for name in names}
        )
    return text.getvalue()


def slide_line(slide: Outlook) -> str:
    """One slide in one line."""
    head = f"{_shown(slide.name)}: {slide.verdict}"
    if slide.verdict in ("will fail", "known failure", "deferred", "skipped"):
        return f"{head}: {_shown(slide.reason).removeprefix(Path(_shown(slide.name)).name + ': ')}"
    parts = [head, *_facts(slide)]
    if slide.expected_s:
        parts.append(f"about {duration(slide.expected_s)}")
    if slide.expected_bytes:
        parts.append(size(slide.expected_bytes))
    return ", ".join(parts) + (f" ({_shown(slide.reason)})" if slide.reason else "")


def closing_lines(found: Survey) -> list[str]:
    """Totals, and how they were found."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(found.counts.items()))
    lines = [f"{plural(len(found.slides), 'slide')}: {counts}"]
    if found.expected_s is not None and found.expected_bytes is not None:
        lines.append(
            f"about {duration(found.expected_s)} and {size(found.expected_bytes)}; "
            f"{size(found.free_bytes)} free; measured with {found.source}"
        )
    else:
        lines.append(f"time and disk {found.source}; {size(found.free_bytes)} free")
    return [*lines, *found.notices]


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes, or seconds."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes in the unit that leaves few digits."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _facts(slide: Outlook) -> list[str]:
    parts = []
    if slide.reader:
        parts.append(f"{slide.reader}/{slide.vendor or 'unknown'}")
    if slide.width and slide.height:
        parts += [f"{slide.width} x {slide.height} px", plural(slide.levels or 1, "level")]
    if slide.mpp_x and slide.mpp_y:
        same = abs(slide.mpp_x - slide.mpp_y) < 1e-4
        mpp = f"{slide.mpp_x:.4g}" if same else f"{slide.mpp_x:.4g} x {slide.mpp_y:.4g}"
        parts.append(f"{mpp} um/px ({slide.mpp_source})")
    if slide.objective:
        parts.append(f"{slide.objective:g}x")
    if slide.tissue_mm2 is not None:
        parts.append(f"{slide.tissue_mm2:.2f} mm2 tissue")
    if slide.regions is not None:
        parts += [plural(slide.regions, "region"), plural(slide.tiles or 0, "tile")]
        if slide.tiles_left != slide.tiles:
            parts.append(f"{plural(slide.tiles_left or 0, 'tile')} left")
    return parts


def _shown(text: str) -> str:
    """Text of a stranger's file on a terminal: no control characters, one line."""
    return "".join(c if c.isprintable() else "?" for c in text.encode("utf-8", "replace").decode())


def _print_table(found: Survey) -> None:
    table = Table("slide", "", "read by", "size", "um/px", "tissue", "tiles", "time", "disk")
    for slide in found.slides:
        colour = {"will fail": "red", "known failure": "yellow", "done": "green"}.get(
            slide.verdict, ""
        )
        mpp = f"{slide.mpp_x:.4g} {slide.mpp_source}" if slide.mpp_x else ""
        left, whole = slide.tiles_left, slide.tiles
        table.add_row(
            _plain(slide.name),
            f"[{colour}]{slide.verdict}[/]" if colour else slide.verdict,
            _plain(f"{slide.reader}/{slide.vendor}") if slide.reader else "",
            f"{slide.width} x {slide.height}" if slide.width else "",
            mpp,
            "" if slide.tissue_mm2 is None else f"{slide.tissue_mm2:.2f} mm2",
            "" if whole is None else f"{left} of {whole}",
            duration(slide.expected_s) if slide.expected_s else "",
            size(slide.expected_bytes) if slide.expected_bytes else "",
        )
    Console().print(table)
    for slide in found.slides:
        if slide.reason:
            click.echo(slide_line(slide))


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(_shown(text))
