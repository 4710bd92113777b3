"""``ki67 calibrate``: a correction of the index from manual counts, as a file beside the model."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.heights import PeakHeight
from pipeline.cli.paths import OutputPath

if TYPE_CHECKING:
    from pipeline.io.calibration import CalibrationRecord
    from pipeline.io.counted_fields import CountedFields
    from pipeline.model.card import ModelCard


@click.command("calibrate")
@click.argument(
    "counts",
    metavar="[FIELDS.csv]",
    required=False,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option("--name", default="manual", show_default=True, help="Of the calibration.")
@click.option("--model", default="default", show_default=True, help="Name or folder.")
@click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path, exists=True),
    help="Take the found counts from this run's slides.csv; FIELDS.csv names its slides.",
)
@click.option("--fields", help="Count annotated fields in this folder with the model instead.")
@click.option("--kind", default="points", show_default=True, help="As in `ki67 evaluate`.")
@click.option("--mpp", type=float, help="Micrometres per pixel of the fields.")
@click.option("--include", multiple=True, metavar="NAME", help="Pattern of image names.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Pattern of image names.")
@click.option("--threshold", type=PeakHeight(), help="Default: the run's or the model card's.")
@click.option("--out", type=OutputPath(), help="File; default: beside the model.")
def calibrate(
    *,
    counts: Path | None,
    name: str,
    model: str,
    run_folder: Path | None,
    out: Path | None,
    threshold: float | None,
    **options: Any,
) -> None:
    """Make a correction of the labelling index from manual counts.

    FIELDS.csv has one line per field or slide: field, group, manual_positive, manual_negative,
    found_positive, found_negative. With --run the found counts come from the run, with --fields
    all counts come from annotated fields. A calibration is used only where a run's settings name
    it (score.calibration), and only for the weights and the threshold it was made with.
    """
    from pipeline.core.calibration_fit import MIN_CELLS, fit_calibration, leave_one_out, pool_groups
    from pipeline.io.calibration import (
        CalibrationRecord,
        Parameters,
        calibration_path,
        group_rows,
        left_out_errors,
        write_calibration,
    )
    from pipeline.model.card import load_card
    from pipeline.model.zoo import resolve_model

    folder = resolve_model(model)
    card = load_card(folder)
    beside = calibration_path(folder, name)  # in any case: the name must be a plain one
    counted, source = _counted(counts, run_folder, model, threshold, options)
    _check_made_alike(counted, card, threshold)
    groups, small = pool_groups(counted.fields)
    excluded = (*counted.left_out, *(f"{group.name}: under {MIN_CELLS} cells" for group in small))
    _say_left_out(excluded)  # before the fit: it may be refused because of them
    calibration = fit_calibration(groups)
    left_out = leave_one_out(groups)
    record = CalibrationRecord(
        schema=1,
        name=name,
        model=card.name,
        weights_sha256=card.weights_sha256,
        threshold=_first(threshold, counted.threshold, card.threshold),
        source=source,
        parameters=Parameters(
            **{key: getattr(calibration, key) for key in Parameters.model_fields}
        ),
        leave_one_group_out=left_out_errors(left_out),
        by_group=group_rows(groups, left_out),
        left_out=excluded,
    )
    write_calibration(path := out or beside, record)
    _say(record)
    click.echo(f"written: {path}")
    click.echo(f"use it:  ki67 run ... --set score.calibration={path}")


def _counted(
    counts: Path | None,
    run_folder: Path | None,
    model: str,
    threshold: float | None,
    options: dict[str, Any],
) -> tuple["CountedFields", dict[str, str]]:
    """Read the counts from one of the three places, and tell which."""
    from pipeline.io.counted_fields import join_counted_slides, read_counted_fields
    from pipeline.io.files import sha256_file
    from pipeline.io.score_join import read_slide_rows

    if (counts is None) == (options["fields"] is None):
        raise click.UsageError("give either FIELDS.csv or --fields")
    if counts is None:
        if run_folder is not None:
            raise click.UsageError("--run needs FIELDS.csv, not --fields")
        if options["mpp"] is None and options["kind"] != "qupath":
            raise click.UsageError(
                "--mpp is needed with --fields: images do not tell their resolution"
            )
        kind = {"fields": Path(options["fields"]).name, "kind": options["kind"]}
        return _counted_by_model(model, threshold, options), kind
    source = {"counts": counts.name, "counts_sha256": sha256_file(counts)}
    if run_folder is None:
        return read_counted_fields(counts), source
    slides = read_slide_rows(run_folder)
    return join_counted_slides(counts, slides), source | {"found": slides.name}


def _counted_by_model(
    model: str, threshold: float | None, options: dict[str, Any]
) -> "CountedFields":
    from pipeline.config import validated
    from pipeline.core.calibration_fit import CountedField
    from pipeline.core.points import NEGATIVE, POSITIVE
    from pipeline.io.counted_fields import CountedFields
    from pipeline.train.config import SourceConfig
    from pipeline.train.datasets import load_fields
    from pipeline.train.scoring import find_cells

    folder = Path(options["fields"])
    values = {
        "name": folder.name or "fields",
        "kind": options["kind"],
        "path": str(folder.resolve()),
        "mpp_um": options["mpp"],
        "include": options["include"] or ("*",),
        "exclude": options["exclude"],
    }
    rows, left_out = [], []
    for field in load_fields(validated(SourceConfig, values)):
        if not field.classed:
            left_out.append(f"{field.name}: has cells without a class")
            continue
        found = find_cells(model, field, threshold=threshold)
        pairs = [
            int((label == wanted).sum())
            for label in (field.label, found.label)
            for wanted in (POSITIVE, NEGATIVE)
        ]
        rows.append(CountedField(field.name, field.group, *pairs))
    return CountedFields(tuple(rows), tuple(left_out))


def _check_made_alike(counted: "CountedFields", card: "ModelCard", threshold: float | None) -> None:
    from pipeline.errors import ConfigError

    if counted.weights_sha256 not in {None, card.weights_sha256}:
        raise ConfigError(
            f"the run was scored with weights {str(counted.weights_sha256)[:12]}, {card.name} has "
            f"{card.weights_sha256[:12]}; name the run's model with --model"
        )
    if threshold is not None and counted.threshold not in {None, threshold}:
        raise ConfigError(
            f"--threshold={threshold:g}: the run counted its cells at {counted.threshold:g}; leave "
            "it out, or `ki67 score` the run at yours first"
        )


def _say_left_out(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"left out: {line}", err=True)


def _say(record: "CalibrationRecord") -> None:
    import math

    fit, errors = record.parameters, record.leave_one_group_out
    click.echo(
        f"{fit.fields} fields in {fit.groups} groups, found index {fit.range_pct[0]:.1f} to "
        f"{fit.range_pct[1]:.1f} %\n"
        f"found odds = {math.exp(fit.shift_logit):.2f} x manual odds, slope "
        f"{math.exp(fit.log_slope):.2f}, spread {fit.spread_logit:.2f} (logit)\n"
        f"groups left out of the fit: mean absolute error {errors.mean_absolute_before:.2f} points "
        f"before, {errors.mean_absolute_after:.2f} after; bias {errors.bias_before:+.2f} before, "
        f"{errors.bias_after:+.2f} after; {errors.covered} of {errors.groups} within the interval"
    )
    if errors.mean_absolute_after >= errors.mean_absolute_before:
        click.echo("warning: the correction does not help groups it has not seen", err=True)
    if fit.groups == fit.fields and "found" not in record.source:
        click.echo("note: every field is a group of its own (no column group)", err=True)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
