"""The command `ki67 report`: build the report and the QuPath pack again from result files."""

from pathlib import Path

import click

from pipeline.report.text import plural


@click.command("report")
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
def report(out: Path) -> None:
    """Build OUT/report.html, OUT/report_data and OUT/qupath again.

    OUT is the folder of `ki67 run --out`. Only result files are read: no slide, no model.
    """
    from pipeline.io.cases import write_cases
    from pipeline.io.qupath import write_qupath
    from pipeline.report.html import load_records, write_report

    page = write_report(out)
    records, pending = load_records(out)
    write_cases(out, records)
    pack = write_qupath(out, records)
    rest = f", {pending} not done yet" if pending else ""
    click.echo(f"{plural(len(records), 'slide')}{rest}: {page} and {pack}")
