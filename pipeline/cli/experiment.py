"""``ki67 experiment``: compare variants of a training over folds and seeds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipeline.train.experiment.run import Run


@click.command("experiment")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the experiment.")
@click.option("--data", help="Folder of the data sets; default: KI67_DATA.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs at a time; a large GPU is not filled by one small network.",
)
@click.option(
    "--table", "only_table", is_flag=True, help="Train nothing: figures from the stored points."
)
def experiment(
    config: Path,
    *,
    out: Path | None,
    data: str | None,
    pairs: tuple[str, ...],
    jobs: int,
    only_table: bool,
) -> None:
    """Make every run of CONFIG (TOML) that is not finished, then write results.json and .md.

    Stopped, the same command goes on where it was: finished runs are kept, a training that was
    cut off is resumed.
    """
    # torch and the data readers cost seconds: not before a command needs them
    from pipeline.train.config import data_folder
    from pipeline.train.experiment.config import load_experiment
    from pipeline.train.experiment.run import run_experiment
    from pipeline.train.experiment.table import write_results

    settings = load_experiment(config, pairs)
    folder = out or Path("experiments") / settings.name
    if not only_table:
        run_experiment(settings, folder, data=data_folder(data), jobs=jobs, on_run=_say)
    click.echo(write_results(settings, folder, data=data_folder(data)))


def _say(run: "Run", state: str) -> None:
    click.echo(f"{run.variant.name}  {run.fold.name}  seed {run.seed}: {state}", err=True)
