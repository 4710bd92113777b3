"""``ki67 doctor``: is this machine ready; one line a check, with the remedy where one is needed."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.cli.paths import OutputPath
from pipeline.run.doctor import Check, examine

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@click.option("--out", type=OutputPath(), help="Check this output folder.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on stdout.")
def doctor(*, out: Path | None, as_json: bool) -> None:
    """Check packages, devices, readers, the model, memory, disk and locks.

    Exit code 0: nothing has failed; 1: something has.
    """
    checks = []
    for check in examine(out):
        checks.append(check)
        if not as_json:
            click.echo(check_line(check))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        counts = {name: sum(check.outcome == name for check in checks) for name in _COLOURS}
        click.echo(", ".join(f"{number} {name}" for name, number in counts.items()))
    click.get_current_context().exit(any(check.outcome == "fail" for check in checks))


def check_line(check: Check) -> str:
    """Outcome, name, what was found, remedy."""
    mark = click.style(f"{check.outcome:4}", fg=_COLOURS[check.outcome])
    return f"{mark}  {check.name}: {check.found}" + (f" -> {check.remedy}" if check.remedy else "")
