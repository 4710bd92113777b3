"""``ki67 train``: train a network from a settings file."""

from pathlib import Path
from typing import Any

import click

from pipeline.cli.paths import OutputPath


@click.command("train")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", type=OutputPath(), help="Folder of the training.")
@click.option("--data", help="Folder of the data sets; default: KI67_DATA.")
@click.option("--resume", is_flag=True, help="Go on from the state saved in --out.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--stop-after", type=int, help="Stop after this many steps in all, state saved.")
@click.option(
    "--export",
    "target",
    type=click.Path(path_type=Path),
    help="Train nothing: score the best model of --out on the held-out fields and write it here.",
)
def train(
    config: Path,
    *,
    out: Path | None,
    data: str | None,
    resume: bool,
    pairs: tuple[str, ...],
    stop_after: int | None,
    target: Path | None,
) -> None:
    """Train a network as CONFIG (TOML) says and keep the best model in OUT/model."""
    # torch and the data readers cost seconds: not before a command needs them
    from pipeline.train.config import data_folder, load_train_config
    from pipeline.train.loop import train as run_training
    from pipeline.train.scoring import export_scored
    from pipeline.train.state import STATE_NAME

    settings = load_train_config(config, pairs)
    folder = out or Path("trainings") / settings.card.name
    if target is not None:
        card = export_scored(settings, folder, target, data=data_folder(data))
        click.echo(f"{card.name}: threshold {card.threshold:g}, written to {target}")
        return
    if resume and not (folder / STATE_NAME).exists():
        click.echo(f"{folder}: no training to resume; it begins anew", err=True)
    best = run_training(
        settings,
        folder,
        data=data_folder(data),
        resume=resume,
        stop_after=stop_after,
        on_row=_say,
    )
    if best.exists():
        click.echo(f"best model: {best}")
    else:
        click.echo(f"no model yet: the first validation is at step {settings.validate_every}")


def _say(row: dict[str, Any]) -> None:
    click.echo("  ".join(f"{name}={value}" for name, value in row.items()))
