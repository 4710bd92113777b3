"""``ki67 synth``: write a synthetic slide, or a mosaic of annotated fields, and its truth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.errors import ConfigError
from pipeline.io.mosaic import read_mosaic_fields, write_mosaic_slide
from pipeline.io.synthetic import (
    SlideTruth,
    SyntheticSlide,
    unseen_seed,
    with_artefacts,
    write_synthetic_slide,
)
from pipeline.io.synthetic.artefacts import LOCAL_KINDS

SUFFIXES = (".tif", ".tiff", ".svs")


@click.command("synth")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.tif")
@click.option("--width", default=12_000, show_default=True, help="Level 0, pixels.")
@click.option("--height", default=9_000, show_default=True, help="Level 0, pixels.")
@click.option("--mpp", default=0.25, show_default=True, help="Micrometres per pixel.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Another number, another slide.",
)
@click.option("--positive", type=float, help="Share of positive cells, 0-1; default: by seed.")
@click.option("--coverage", default=0.35, show_default=True, help="Share of tissue, 0.01-0.85.")
@click.option("--pieces", default=3, show_default=True, help="Pieces of tissue.")
@click.option(
    "--artefacts",
    help="Plant these in the tissue, by commas; `local` plants one of each local kind.",
)
@click.option("--workers", default=1, show_default=True, help="Processes that render.")
@click.option(
    "--from-fields",
    "fields_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with images/ and points.csv: set these fields into a slide instead.",
)
@click.option(
    "--field-mpp", type=float, help="Micrometres per pixel of the fields; default: --mpp."
)
@click.option("--images", default="*", show_default=True, help="Names or patterns, by commas.")
@click.pass_context
def synth(
    ctx: click.Context,
    *,
    out: Path,
    mpp: float,
    seed: int,
    fields_folder: Path | None,
    field_mpp: float | None,
    images: str,
    workers: int,
    width: int,
    height: int,
    positive: float | None,
    coverage: float,
    pieces: int,
    artefacts: str | None,
) -> None:
    """Write a slide whose cells are known, and the truth beside it.

    The truth is OUT.truth.parquet, OUT.truth.geojson (QuPath) and OUT.truth.json. Seeds never
    meet those of training: a seed below 1,000,000 is counted from there.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{out.name}: name the slide {out.stem}.tif (or .svs)")
    if fields_folder is not None:
        _refuse_given(
            ctx, ("width", "height", "positive", "coverage", "pieces", "workers", "artefacts")
        )
        patterns = [word.strip() for word in images.split(",") if word.strip()]
        fields = read_mosaic_fields(fields_folder, patterns)
        with _progress(out.name) as advance:
            truth = write_mosaic_slide(
                out,
                fields,
                seed=seed,
                mpp_um=mpp,
                field_mpp_um=field_mpp or mpp,
                on_rows=advance,
            )
    else:
        slide = SyntheticSlide(
            unseen_seed(seed),
            width,
            height,
            mpp,
            positive_share=positive,
            coverage=coverage,
            pieces=pieces,
        )
        if artefacts:
            slide = with_artefacts(slide, _kinds(artefacts))
        with _progress(out.name, height) as advance:
            truth = write_synthetic_slide(out, slide, workers=workers, on_rows=advance)
    click.echo(_ending(out, truth))


def _kinds(words: str) -> tuple[str, ...]:
    """Kinds of artefacts by name; unknown ones are refused when they are made."""
    named = [word.strip() for word in words.split(",") if word.strip()]
    return tuple(kind for word in named for kind in (LOCAL_KINDS if word == "local" else (word,)))


def _refuse_given(ctx: click.Context, names: tuple[str, ...]) -> None:
    """A flag that would be ignored is refused."""
    for name in names:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise ConfigError(f"--{name} has no meaning with --from-fields; leave it out")


@contextmanager
def _progress(name: str, height: int | None = None) -> Iterator[Callable[[int], None] | None]:
    """A bar of rows on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=height)
        yield lambda rows: bars.advance(task, rows)


def _ending(out: Path, truth: SlideTruth) -> str:
    index = "not defined" if truth.index_pct is None else f"{truth.index_pct:.1f} %"
    return (
        f"{out}: {truth.positive:,} positive + {truth.negative:,} negative cells, "
        f"true Ki-67 index {index}; truth in {truth.parquet.name}, {truth.geojson.name}"
    )
