"""``ki67 verify``: read every result file again; what does not hold is withdrawn."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.run.verifying import SlideCheck, Verification


@click.command("verify")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.argument("slides", nargs=-1, metavar="[SLIDE]...")
@click.option("--keep", is_flag=True, help="Only report; change nothing.")
@click.option("--threads", type=click.IntRange(min=1), help="Files read at a time; default: 4.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(
    *, out: Path, slides: tuple[str, ...], keep: bool, threads: int | None, as_json: bool
) -> None:
    """Read every result file again and compare it with the checksums of done.json.

    OUT is the folder of `ki67 run --out`; SLIDE a slide id or its beginning. A slide whose files
    do not hold loses its done mark and stands as failed: the next `ki67 run` makes it again.

    Exit codes: 0 everything holds, 1 something does not, 2 usage, 3 a run holds the folder.
    """
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.report.html import write_report
    from pipeline.run.verifying import verify_archive, withdraw

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading results", total=None)

        def tell(check: "SlideCheck", done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)
            if not as_json:
                for line in _lines(check):
                    click.echo(line, err=True)

        found = verify_archive(out, slides, on_slide=tell, threads=threads)
    repairable = not found.holds or any(check.state == "unsettled" for check in found.slides)
    if repairable and not keep:
        # a run that holds the folder is the reason if its table differs: that is told alone
        found = withdraw(out.resolve(), found, write_report)
    if not as_json:
        for problem in found.batch:
            click.echo(f"does not hold: {problem}", err=True)
    click.echo(json.dumps(_as_json(found), ensure_ascii=False) if as_json else _ending(found, out))
    click.get_current_context().exit(0 if found.holds else 1)


def _lines(check: "SlideCheck") -> list[str]:
    lines = [f"does not hold: {check.slide_id}/{problem}" for problem in check.problems]
    return lines + [f"unknown file: {check.slide_id}/{name}" for name in check.unknown]


def _as_json(found: "Verification") -> dict[str, Any]:
    return {
        "holds": found.holds,
        "slides": [
            {
                "slide_id": check.slide_id,
                "state": check.state,
                "problems": list(check.problems),
                "unknown": list(check.unknown),
                "withdrawn": check.withdrawn,
            }
            for check in found.slides
        ],
        "batch": list(found.batch),
    }


def _ending(found: "Verification", out: Path) -> str:
    number = {
        state: sum(check.state == state for check in found.slides)
        for state in ("holds", "damaged", "unfinished")
    }
    line = f"{number['holds']} of {len(found.slides)} slides hold"
    if number["unfinished"]:
        line += f", {number['unfinished']} not finished"
    if not number["damaged"]:
        return line + ("" if found.holds else "; files of the batch do not, see above")
    line += f", {number['damaged']} not"
    if found.withdrawn:
        return f"{line} and withdrawn: the same `ki67 run` makes them again"
    return f"{line}; without --keep `ki67 verify {out}` withdraws them"
