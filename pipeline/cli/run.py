"""``ki67 run``: score slides; a table of progress on a terminal, plain lines elsewhere."""

import json
from collections import Counter
from pathlib import Path

import click

from pipeline.cli.progress import progress_view
from pipeline.config import load_config
from pipeline.run.archive import run_archive
from pipeline.run.events import RunSummary


@click.command("run")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--model", help="A name of `ki67 models` or a folder.")
@click.option("--workers", type=int, help="Worker processes; default: one a core.")
@click.option("--threads", type=int, help="Threads of the network in each worker.")
@click.option("--scheduler", help="Address or scheduler file of a dask cluster.")
@click.option("--reader", help="auto, openslide or tiffslide.")
@click.option("--mpp", type=float, help="Micrometres per pixel; overrides the file.")
@click.option("--assume-mpp", type=float, help="Used only where the file is silent.")
@click.option("--threshold", type=float, help="Peak height of a cell; default: the model's.")
@click.option("--device", help="cpu or cuda.")
@click.option("--retry-failed", is_flag=True, help="Try slides again that are known to fail.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a slide on stdout.")
def run(
    inputs: tuple[str, ...],
    *,
    out: Path,
    config_file: Path | None,
    pairs: tuple[str, ...],
    retry_failed: bool,
    as_json: bool,
    **flags: str | float | None,
) -> None:
    """Score slides: files, folders and globs in, one folder a slide out.

    The same command goes on where an earlier one stopped and leaves finished slides alone.
    """
    config = load_config(config_file, [*pairs, *_pairs(flags)])
    progress = progress_view(as_json=as_json)
    with progress:
        summary = run_archive(
            inputs, out, config, on_event=progress.tell, report=_report, retry_failed=retry_failed
        )
    if not as_json:
        click.echo(_ending(summary, out))
    click.get_current_context().exit(summary.exit_code)


_SETTINGS = {
    "model": "prediction.model",
    "workers": "cluster.workers",
    "threads": "cluster.threads",
    "scheduler": "cluster.scheduler",
    "reader": "slides.reader",
    "mpp": "slides.mpp",
    "assume_mpp": "slides.assume_mpp",
    "threshold": "prediction.threshold",
    "device": "prediction.device",
}


def _pairs(flags: dict[str, str | float | None]) -> list[str]:
    """Flags are settings: ``--workers 2`` is ``--set cluster.workers=2``."""
    return [
        f"{_SETTINGS[name]}={json.dumps(value) if isinstance(value, str) else value}"
        for name, value in flags.items()
        if value is not None
    ]


def _ending(summary: RunSummary, out: Path) -> str:
    numbers = Counter(record.outcome for record in summary.records)
    counts = ", ".join(
        f"{number} {outcome.replace('_', ' ')}" for outcome, number in sorted(numbers.items())
    )
    return f"{counts}; results in {out}, start with {out / 'report.html'}"


def _report(out: Path) -> object:
    from pipeline.report.html import write_report

    return write_report(out)
