"""``ki67 agree``: how well the pipeline's indices agree with manual ones."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from pipeline.cli.paths import OutputPath
from pipeline.errors import AnnotationError
from pipeline.io.score import Status

if TYPE_CHECKING:
    from pipeline.core.category import Scheme
    from pipeline.io.score_join import JoinedScores, SlideRows


@click.command("agree")
@click.argument("slides", metavar="OUT_OR_SLIDES_CSV", type=click.Path(path_type=Path, exists=True))
@click.argument("manual", metavar="MANUAL.csv", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=OutputPath(), help="Folder; default: agreement/ beside the results.")
@click.option("--reader", "readers", multiple=True, metavar="NAME", help="Only these readers.")
@click.option("--column", default="index_pct", show_default=True, help="Of slides.csv, in percent.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(get_args(Status)),
    multiple=True,
    default=("ok", "ok_with_flags"),
    show_default=True,
    help="Slides of this status take part.",
)
@click.option("--cutoffs", default="5,10,14,20,30", show_default=True, help="Percent, by commas.")
@click.option("--scheme", "scheme_name", help="Also compare in a built-in scheme's categories.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Settings of the run: also compare in its category scheme.",
)
@click.option("--fraction", is_flag=True, help="Manual values are shares from 0 to 1.")
@click.option("--decimal-comma", is_flag=True, help="Manual values write 12,5 for 12.5.")
def agree(
    *,
    slides: Path,
    manual: Path,
    out: Path | None,
    readers: tuple[str, ...],
    column: str,
    statuses: tuple[str, ...],
    cutoffs: str,
    scheme_name: str | None,
    config: Path | None,
    fraction: bool,
    decimal_comma: bool,
) -> None:
    """Compare the indices of a run with those of one or more readers.

    MANUAL.csv has a column of slides (slide_id, slide or name: id, file name or name without
    suffix) and one column per reader, or the columns slide, reader and index. Values are in
    percent; an empty cell is a slide that was not scored.
    """
    from pipeline.io.manual_scores import ManualForm, check_scale, read_manual_scores
    from pipeline.io.score_join import join_scores, read_slide_rows
    from pipeline.report.agreement import make_study, write_agreement

    form = ManualForm(readers, decimal_comma=decimal_comma, fraction=fraction)
    chosen, schemes = _cutoffs(cutoffs), _schemes(scheme_name, config)
    table = read_slide_rows(slides, column=column)
    scores = read_manual_scores(manual, form)
    joined = join_scores(table, scores, statuses=statuses)
    if not joined.rows:
        _say_left_out(joined)
        raise AnnotationError(
            f"{manual.name}: none of its slides can be compared with {table.name}; nothing written"
        )
    check_scale(scores, joined.found_pct.tolist(), fraction=fraction)
    study = make_study(
        joined, _sources(table, joined, manual, column), cutoffs_pct=chosen, schemes=schemes
    )
    folder = out or (slides if slides.is_dir() else slides.parent) / "agreement"
    paths = write_agreement(folder, study)
    _say(joined, paths[1].read_text(encoding="utf-8"), folder)


def _say(joined: "JoinedScores", text: str, folder: Path) -> None:
    _say_left_out(joined)
    # the page has the rest: a terminal shows the words and the first three tables
    click.echo("\n## ".join(text.split("\n## ")[:4]).rstrip())
    click.echo(f"\nwritten: {folder / 'agreement.html'}, .md, .json, _slides.csv and plots")


def _say_left_out(joined: "JoinedScores") -> None:
    for entry in joined.left_out:
        click.echo(f"left out: {entry.what or '-'} ({entry.where}): {entry.reason}", err=True)


def _sources(
    table: "SlideRows", joined: "JoinedScores", manual: Path, column: str
) -> dict[str, str]:
    from pipeline.io.files import sha256_file

    models = sorted(
        {
            f"{row.cells.get('model', '')} ({row.cells.get('weights_sha256', '')[:12]})"
            for row in joined.rows
        }
    )
    return {
        "pipeline": f"{table.name}, column {column}",
        "model": "; ".join(models) or "none",
        "manual scores": manual.name,
        "manual scores, sha256": sha256_file(manual),
        "readers": ", ".join(joined.readers),
    }


def _cutoffs(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    ends = (0.0, *values, 100.0)
    if not values or any(not low < high for low, high in itertools.pairwise(ends)):
        raise click.UsageError(f"--cutoffs {text}: write rising numbers between 0 and 100")
    return values


def _schemes(name: str | None, config: Path | None) -> list["Scheme"]:
    from pipeline.config import load_config
    from pipeline.core.category import SCHEMES, own_scheme

    if name is not None and name not in SCHEMES:
        raise click.UsageError(f"--scheme {name}: known are {', '.join(SCHEMES)}")
    schemes = [SCHEMES[name]] if name else []
    if config is not None:
        chosen = load_config(config).category
        if chosen.scheme == "own":
            schemes.append(own_scheme(chosen.cutoffs, chosen.labels))
        elif chosen.scheme in SCHEMES and chosen.scheme != name:
            schemes.append(SCHEMES[chosen.scheme])
    return schemes
