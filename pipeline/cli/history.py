"""``ki67 history``: which slides were done when, with what, and what changed between."""

import csv
import io
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from pipeline.report.text import plural


@click.command("history")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--since",
    type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")),
    metavar="DATE",
    help="UTC, like 2026-01-31 or 2026-01-31T20:00.",
)
@click.option("--slide", metavar="ID", help="A slide id or its beginning.")
@click.option("--failed", is_flag=True, help="Only what failed.")
@click.option("--rebuild", is_flag=True, help="Build the ledger again from the result files.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@click.option("--csv", "as_csv", is_flag=True, help="A table on stdout.")
def history(
    *,
    out: Path,
    since: datetime | None,
    slide: str | None,
    failed: bool,
    rebuild: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Tell which slides were done when, with which model, and what changed since the time before.

    OUT is the folder of `ki67 run --out`. The ledger is read, never locked, except to rebuild it.
    """
    from pipeline.errors import ConfigError
    from pipeline.io.ledger import LEDGER_NAME
    from pipeline.io.ledger_reading import read_ledger
    from pipeline.run.changes import changed_rows
    from pipeline.run.history import rebuild_ledger
    from pipeline.run.lock import locked

    if not (out / "slides").is_dir() and not (out / "runs").is_dir():
        raise ConfigError(f"{out}: no slides/ in it; give the folder of `ki67 run --out`")
    if rebuild:
        with locked(out):
            runs, rows = rebuild_ledger(out)
        click.echo(f"{LEDGER_NAME}: {runs} runs, {rows} results of slides", err=True)
    elif not (out / LEDGER_NAME).exists() and any((out / "runs").glob("*.json")):
        click.echo(f"{LEDGER_NAME} is gone; --rebuild makes it again from result files", err=True)
    every = list(changed_rows(read_ledger(out / LEDGER_NAME)))
    if slide and every and not any(row.slide_id.startswith(slide) for row, _ in every):
        raise ConfigError(f"--slide {slide}: no slide of that id was ever done in {out}")
    found = [
        (row, changed)
        for row, changed in every
        if (since is None or (row.finished or "") >= since.isoformat())
        and (slide is None or row.slide_id.startswith(slide))
        and (not failed or row.status == "failed")
    ]
    values = [{**asdict(row), "changed": list(changed)} for row, changed in found]
    if as_json:
        for value in values:
            click.echo(json.dumps(value, ensure_ascii=False))
    elif as_csv:
        click.echo(_table(values), nl=False)
    else:
        for row, changed in found:
            index = "" if row.index_pct is None else f", Ki-67 {row.index_pct:.1f} %"
            line = f"{(row.finished or '')[:19]} {row.slide_id}: {row.status}{index}"
            line += f", model {row.model} {(row.weights_sha256 or '')[:12]}"
            line += f", settings {(row.config_sha256 or '')[:12]}"
            line += f"; changed: {', '.join(changed)}" if changed else ""
            click.echo(line + (f" ({row.reason})" if row.status == "failed" else ""))
        click.echo(plural(len(found), "result"))


def _table(values: list[dict[str, object]]) -> str:
    from dataclasses import fields

    from pipeline.io.ledger import LedgerSlide
    from pipeline.io.results import text_cell

    text = io.StringIO()
    names = [*(item.name for item in fields(LedgerSlide)), "changed"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for value in values:
        cells = {**value, "changed": "; ".join(map(str, value["changed"]))}  # type: ignore[call-overload]
        writer.writerow(
            [text_cell(v) if isinstance(v := cells[name], str) else v for name in names]
        )
    return text.getvalue()
