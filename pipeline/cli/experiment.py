"""``ki67 experiment``: compare variants of a training over folds and seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.heights import PeakHeight
from pipeline.cli.paths import OutputPath
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.train.experiment.run import Run


@click.command("experiment")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", type=OutputPath(), help="Folder of the experiment.")
@click.option("--data", help="Folder of the data sets; default: KI67_DATA.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs at a time; a large GPU is not filled by one small network.",
)
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only this one's runs.")
@click.option("--fold", "folds", multiple=True, metavar="NAME", help="Only this one's runs.")
@click.option(
    "--card",
    "model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Then write threshold and figures of the one --variant onto the card of this model.",
)
@click.option(
    "--table", "only_table", is_flag=True, help="Train nothing: figures from the stored points."
)
@click.option(
    "--threshold",
    type=PeakHeight(),
    help="With --table: figures of all networks at this one, in files of their own.",
)
def experiment(
    config: Path,
    *,
    out: Path | None,
    data: str | None,
    pairs: tuple[str, ...],
    jobs: int,
    variants: tuple[str, ...],
    folds: tuple[str, ...],
    model: Path | None,
    only_table: bool,
    threshold: float | None,
) -> None:
    """Make every run of CONFIG (TOML) that is not finished, then write results.json and .md.

    Stopped, the same command goes on where it was: finished runs are kept, a training that was
    cut off is resumed. Several machines can share the work of one --out by --variant and --fold.
    """
    # torch and the data readers cost seconds: not before a command needs them
    from pipeline.train.config import data_folder
    from pipeline.train.experiment.config import load_experiment
    from pipeline.train.experiment.run import run_experiment
    from pipeline.train.experiment.table import write_results
    from pipeline.train.experiment.vouching import vouch

    settings = load_experiment(config, pairs)
    folder = out or Path("experiments") / settings.name
    _check_names("variant", variants, [variant.name for variant in settings.variants])
    _check_names("fold", folds, [fold.name for fold in settings.folds])
    if model is not None and len(variants) != 1:
        raise ConfigError("--card: name the one --variant whose figures the model is to carry")
    if threshold is not None and (not only_table or model is not None):
        raise ConfigError("--threshold: give it with --table and without --card")

    def wanted(run: "Run") -> bool:
        chosen = not variants or run.variant.name in variants
        return chosen and (not folds or run.fold.name in folds)

    if not only_table:
        run_experiment(
            settings, folder, data=data_folder(data), jobs=jobs, only=wanted, on_run=_say
        )
    click.echo(write_results(settings, folder, data=data_folder(data), threshold=threshold))
    if model is not None:
        # as it was called, but a card tells no path of this machine
        told = [path.name if path.is_absolute() else path for path in (config, folder)]
        command = f"ki67 experiment {told[0]} --data FIELDS --out {told[1]} --table"
        card = vouch(
            *(settings, folder, variants[0], model), data=data_folder(data), command=command
        )
        click.echo(f"{card.name}: threshold {card.threshold:g}, candidates from {card.floor:g}")


def _check_names(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"there is no {what} {name!r}; known: {', '.join(known)}")


def _say(run: "Run", state: str) -> None:
    click.echo(f"{run.variant.name}  {run.fold.name}  seed {run.seed}: {state}", err=True)
