"""``ki67 evaluate``: score a model against annotated fields."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.train.config import SourceConfig


@click.command("evaluate")
@click.option("--model", default="default", show_default=True, help="Name, folder or 'classical'.")
@click.option("--fields", help="Folder of annotated fields.")
@click.option(
    "--kind",
    type=click.Choice(["bcdata", "shidc", "points"]),
    default="points",
    show_default=True,
    help="How the fields are stored.",
)
@click.option("--mpp", type=float, help="Micrometres per pixel of the fields.")
@click.option("--include", multiple=True, metavar="NAME", help="Pattern of image names.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Pattern of image names.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings of a training.")
@click.option(
    "--role",
    type=click.Choice(["training", "validation", "held_out"]),
    default="held_out",
    show_default=True,
    help="With --config: which of its fields.",
)
@click.option("--data", help="With --config: folder of the data sets; default: KI67_DATA.")
@click.option("--threshold", type=float, help="Default: the model card's.")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for JSON and Markdown.")
def evaluate(
    *,
    model: str,
    fields: str | None,
    kind: str,
    mpp: float | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    config: Path | None,
    role: Any,
    data: str | None,
    threshold: float | None,
    threads: int,
    out: Path | None,
) -> None:
    """Score MODEL on annotated fields: a folder, or the fields a training's settings name.

    Radii are 3.125 and 1.5625 um: 10 and 5 px of BCData images scaled to 512 px.
    """
    from pipeline.train.config import data_folder, load_train_config
    from pipeline.train.datasets import load_fields
    from pipeline.train.report import markdown, write_evaluation
    from pipeline.train.scoring import score_model, score_role

    if (config is None) == (fields is None):
        raise click.UsageError("give either --fields or --config")
    if config is not None:
        settings = load_train_config(config)
        scores = score_role(
            model, settings, role, data=data_folder(data), threads=threads, threshold=threshold
        )
    else:
        source = _source(str(fields), kind, mpp, include, exclude)
        loaded = load_fields(source)
        scores = {source.name: score_model(model, loaded, threads=threads, threshold=threshold)}
    click.echo(markdown(scores))
    if out is not None:
        for path in write_evaluation(out, scores):
            click.echo(f"written: {path}")


def _source(
    folder: str,
    kind: str,
    mpp: float | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
) -> "SourceConfig":
    from pipeline.config import validated
    from pipeline.train.config import SourceConfig

    if mpp is None:
        raise click.UsageError("--mpp is needed with --fields: images do not tell their resolution")
    values = {
        "name": Path(folder).name or "fields",
        "kind": kind,
        "path": str(Path(folder).resolve()),
        "mpp_um": mpp,
        "include": include or ("*",),
        "exclude": exclude,
    }
    return validated(SourceConfig, values)
