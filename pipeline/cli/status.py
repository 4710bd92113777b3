"""``ki67 status``: how far a run is, who holds the folder, what to do next."""

import json
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from pipeline.report.text import plural

if TYPE_CHECKING:
    from pipeline.run.standing_batch import BatchStanding, SlideStanding

_SHOWN_MOST = 20


@click.command("status")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def status(*, out: Path, as_json: bool) -> None:
    """Tell how far the run of OUT is: done, failed, under way, pending; who holds the folder.

    Nothing is changed or locked: ask as often as you like, during a run too.
    """
    from pipeline.run.standing_batch import batch_standing

    found = batch_standing(out)
    if as_json:
        click.echo(json.dumps(_as_json(found, out), ensure_ascii=False))
        return
    counts = found.counts()
    total = sum(counts.values())
    words = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items())
    click.echo(f"{plural(total, 'slide')}: {words or 'none yet'}")
    shown = [slide for slide in found.slides if slide.state in _TOLD]
    for slide in shown[:_SHOWN_MOST]:
        click.echo(f"  {_line(slide)}")
    if len(shown) > _SHOWN_MOST:
        click.echo(f"  and {len(shown) - _SHOWN_MOST} more (--json lists all)")
    click.echo(f"held by: {found.held_by or 'nobody'}")
    click.echo(f"last run: {_last(found)}")
    click.echo(f"next: {found.next_step(out)}")


_TOLD = ("in_progress", "failed_new", "failed_known", "refused", "damaged", "deferred")


def _line(slide: "SlideStanding") -> str:
    line = f"{slide.name}: {slide.state.replace('_', ' ')}"
    if slide.regions is not None:
        line += f", {slide.regions_done} of {plural(slide.regions, 'region')}"
    # the reason names the file, and so does the line
    reason = (slide.reason or "").removeprefix(f"{PurePosixPath(slide.name).name}: ")
    return f"{line}: {reason}" if reason else line


def _last(found: "BatchStanding") -> str:
    run = found.last_run
    if not run:
        return "none"
    line = f"{run['run_id']}, {run['status']}"
    return line if run["exit_code"] is None else f"{line}, exit code {run['exit_code']}"


def _as_json(found: "BatchStanding", out: Path) -> dict[str, object]:
    return {
        "counts": found.counts(),
        "slides": [asdict(slide) for slide in found.slides],
        "pending": list(found.pending),
        "held_by": found.held_by,
        "last_run": dict(found.last_run),
        "next": found.next_step(out),
    }
