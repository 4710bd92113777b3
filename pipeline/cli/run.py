"""``ki67 run``: score slides; a table of progress on a terminal, plain lines elsewhere."""

import json
from pathlib import Path

import click

from pipeline.cli.paths import OutputPath
from pipeline.cli.watching import run_or_watch, watch_options
from pipeline.config import load_config
from pipeline.run.forks.early import start_early


@click.command("run")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", required=True, type=OutputPath(), help="Output folder.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--model", help="A name of `ki67 models` or a folder.")
@click.option("--workers", type=int, help="Worker processes; default: a core and 2 GiB each.")
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
    # from here on while the workers' server imports
    from pipeline.cli.running import run_told

    run_told(
        run_or_watch(watch=watch, every=every, idle_exit=idle_exit),
        inputs,
        out,
        config,
        retry_failed=retry_failed,
        as_json=as_json,
    )


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
