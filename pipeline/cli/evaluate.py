"""``ki67 evaluate``: score a model against annotated fields."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipeline.cli.heights import PeakHeight
from pipeline.cli.paths import OutputPath
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.train.config import SourceConfig
    from pipeline.train.detection import Detection
    from pipeline.train.fields import Field

KINDS = (
    *("bcdata", "shidc", "points", "qupath", "masks", "uw", "brca_m2c"),
    *("conic", "ccrcc", "psu", "paper_points"),
)
"""Forms of fields; ``train.config.Kind`` without the synthetic ones."""


_OF_FIELDS = {
    "kind": "--kind",
    "mpp": "--mpp",
    "include": "--include",
    "exclude": "--exclude",
    "split": "--split",
    "slides": "--slides",
    "labels": "--label",
}
"""Options that say what the folder of ``--fields`` holds."""


@click.command("evaluate")
@click.option("--model", default="default", show_default=True, help="Name, folder or 'classical'.")
@click.option("--fields", help="Folder (or table) of annotated fields.")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="points",
    show_default=True,
    help="How the fields are stored.",
)
@click.option("--mpp", type=float, help="Micrometres per pixel of the fields.")
@click.option("--include", multiple=True, metavar="NAME", help="Pattern of image names.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Pattern of image names.")
@click.option("--split", help="Official part of the set, such as test.")
@click.option("--slides", help="qupath: folder of the slides, if not beside the GeoJSON.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="WORD=MEANING",
    help="What a label word is: positive, negative, cell, other or ignore.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings of a training.")
@click.option(
    "--role",
    type=click.Choice(["training", "validation", "held_out"]),
    default="held_out",
    show_default=True,
    help="With --config: which of its fields.",
)
@click.option("--data", help="With --config: folder of the data sets; default: KI67_DATA.")
@click.option("--threshold", type=PeakHeight(), help="Default: the model card's.")
@click.option(
    "--post", type=click.Choice(["ccls", "lmss", "lmds"]), help="Default: the model card's."
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Take the cells from a predictions.json of an earlier --out (or a point file).",
)
@click.option("--classical", is_flag=True, help="Add rows of the detector without a network.")
@click.option("--pictures/--no-pictures", default=True, help="With --out: draw every field.")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--out", type=OutputPath(), help="Folder for all that is written.")
def evaluate(
    *,
    fields: str | None,
    config: Path | None,
    role: Any,
    data: str | None,
    classical: bool,
    pictures: bool,
    out: Path | None,
    **options: Any,
) -> None:
    """Score MODEL on annotated fields: a folder, or the fields a training's settings name.

    Cells match within 3.125 and 1.5625 um, and within 10 and 5 px of the field scaled to 512 px.
    """
    from pipeline.train.config import data_folder, load_train_config
    from pipeline.train.datasets import load_fields
    from pipeline.train.detection import CLASSICAL, detect
    from pipeline.train.evaluation_files import all_scores, write_files
    from pipeline.train.report import markdown
    from pipeline.train.scoring import role_fields, score_sets

    if (config is None) == (fields is None):
        raise click.UsageError("give either --fields or --config")
    _refuse_idle(config, options)
    sets: dict[str, list[Field]]
    if config is not None:
        sets = role_fields(load_train_config(config), role, data=data_folder(data))
    else:
        source = _source(str(fields), options)
        sets = {source.name: load_fields(source)}
    scored = score_sets(sets, _finder(sets, options))
    baseline = score_sets(sets, lambda _, some: detect(CLASSICAL, some)) if classical else []
    click.echo(markdown(all_scores(scored, baseline)))
    if out is not None:
        for path in write_files(out, scored, baseline, pictures=pictures):
            click.echo(f"written: {path}")


def _refuse_idle(config: Path | None, options: dict[str, Any]) -> None:
    """An option that would change nothing was meant to change something."""
    context = click.get_current_context()
    given = {
        name
        for name in (*_OF_FIELDS, "post", "model")
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if config is not None and (idle := given & _OF_FIELDS.keys()):
        names = ", ".join(sorted(_OF_FIELDS[name] for name in idle))
        raise click.UsageError(f"{names}: go with --fields; with --config its sources decide")
    if options["predictions"] is not None and (idle := given & {"post", "model"}):
        names = ", ".join(f"--{name}" for name in sorted(idle))
        raise click.UsageError(f"{names}: the cells are taken from --predictions; leave it out")


def _finder(
    sets: dict[str, list["Field"]], options: dict[str, Any]
) -> "Callable[[str, Sequence[Field]], Detection]":
    """What finds the cells of a set: the stored predictions or the model."""
    from pipeline.train.detection import detect
    from pipeline.train.predictions import read_predictions

    threshold = options["threshold"]
    if options["predictions"] is not None:
        stored = read_predictions(options["predictions"], sets)
        return lambda name, _: stored[name].at(threshold)
    settings = {key: options[key] for key in ("threshold", "post", "threads")}
    return lambda _, some: detect(options["model"], some, **settings)


def _source(folder: str, options: dict[str, Any]) -> "SourceConfig":
    from pipeline.config import validated
    from pipeline.train.config import SourceConfig

    kind, mpp = options["kind"], options["mpp"]
    if mpp is None and kind != "qupath":
        raise click.UsageError("--mpp is needed with --fields: images do not tell their resolution")
    values = {
        "name": Path(folder).stem or "fields",
        "kind": kind,
        "path": str(Path(folder).resolve()),
        "mpp_um": mpp,
        "include": options["include"] or ("*",),
        "exclude": options["exclude"],
        "split": options["split"],
        "slides": None if options["slides"] is None else str(Path(options["slides"]).resolve()),
        "labels": dict(_pair(text) for text in options["labels"]),
    }
    return validated(SourceConfig, values)


def _pair(text: str) -> tuple[str, str]:
    word, sign, meaning = text.rpartition("=")
    if not sign:
        raise ConfigError(f"--label {text}: write it as WORD=MEANING, such as Tumor=negative")
    return word, meaning
