"""``ki67 run``: score slides; a table of progress on a terminal, plain lines elsewhere."""

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Thread

import click

from pipeline.cli import exit_code
from pipeline.cli.ending import ending
from pipeline.cli.logs import run_log
from pipeline.cli.progress import progress_view
from pipeline.cli.watching import run_or_watch, watch_options
from pipeline.config import load_config
from pipeline.errors import PipelineError
from pipeline.run.events import Event
from pipeline.run.forks.early import start_early


@click.command("run")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--model", help="A name of `ki67 models` or a folder.")
@click.option("--workers", type=int, help="Worker processes; default: one a core.")
@click.option("--threads", type=int, help="Threads of the network in each worker.")
@click.option("--cluster", metavar="KIND", help="local, address, slurm, kubernetes, factory.")
@click.option("--scheduler", help="Address or scheduler file of a dask cluster.")
@click.option("--reader", help="auto, openslide or tiffslide.")
@click.option("--mpp", type=float, help="Micrometres per pixel; overrides the file.")
@click.option("--assume-mpp", type=float, help="Used only where the file is silent.")
@click.option("--threshold", type=float, help="Peak height of a cell; default: the model's.")
@click.option("--device", help="cpu or cuda.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only such paths; repeatable.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No such paths; repeatable.")
@click.option("--retry-failed", is_flag=True, help="Try slides again that are known to fail.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a slide on stdout.")
@click.option("--log-json", is_flag=True, default=None, help="Log on stderr as JSON lines.")
@click.option("--log-file", help="Append JSON lines to this file.")
@click.option("--log-paths", is_flag=True, default=None, help="Names and paths in the logs.")
@click.option(
    "--performance-report", is_flag=True, default=None, help="Keep dask's report of the run."
)
@watch_options
def run(
    inputs: tuple[str, ...],
    *,
    out: Path,
    config_file: Path | None,
    pairs: tuple[str, ...],
    retry_failed: bool,
    as_json: bool,
    watch: bool,
    every: float | None,
    idle_exit: float | None,
    **flags: str | float | tuple[str, ...] | None,
) -> None:
    """Score slides: files, folders and globs in, one folder a slide out.

    The same command goes on where an earlier one stopped and leaves finished slides alone.
    """
    config = load_config(config_file, [*pairs, *_pairs(flags)])
    start_early(config)
    score = run_or_watch(watch=watch, every=every, idle_exit=idle_exit)
    logs = config.watching
    places = [str(place.absolute()) for place in [*map(Path, inputs), out]]
    with (
        run_log(logs, places) as log,
        progress_view(as_json=as_json, quiet=logs.log_json) as progress,
    ):

        def tell(event: Event) -> None:
            log.tell(event)
            progress.tell(event)
            if event.kind == "slide_finalising":
                _import_report()

        try:
            summary = score(
                inputs, out, config, on_event=tell, report=_report, retry_failed=retry_failed
            )
        except PipelineError as error:
            log.failed(error, exit_code(error))
            if logs.log_json:  # the line has been written, and without paths
                raise click.exceptions.Exit(exit_code(error)) from error
            raise
        log.end(summary)
    if not (as_json or logs.log_json):
        click.echo(ending(summary, out))
    click.get_current_context().exit(summary.exit_code)


_SETTINGS = {
    "model": "prediction.model",
    "workers": "cluster.workers",
    "threads": "cluster.threads",
    "cluster": "cluster.kind",
    "scheduler": "cluster.scheduler",
    "reader": "slides.reader",
    "mpp": "slides.mpp",
    "assume_mpp": "slides.assume_mpp",
    "threshold": "prediction.threshold",
    "device": "prediction.device",
    "include": "inputs.include",
    "exclude": "inputs.exclude",
    "log_json": "watching.log_json",
    "log_file": "watching.log_file",
    "log_paths": "watching.log_paths",
    "performance_report": "watching.performance_report",
}


def _pairs(flags: dict[str, str | float | tuple[str, ...] | None]) -> list[str]:
    """Flags are settings: ``--workers 2`` is ``--set cluster.workers=2``."""
    return [
        f"{_SETTINGS[name]}={json.dumps(value)}"
        for name, value in flags.items()
        if value is not None and value != ()
    ]


@cache
def _import_report() -> None:
    """Import what the end of a run needs while a worker is busy: nobody waits for it then."""

    def imported() -> None:
        import_module("pipeline.io.qupath")
        import_module("pipeline.report.html").load_templates()

    Thread(target=imported, daemon=True).start()


def _report(out: Path) -> object:
    from pipeline.report.html import write_report

    return write_report(out)
