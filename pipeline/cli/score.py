"""``ki67 score``: score the finished slides of a run again, from what prediction left of them."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.config import given_settings, overlaid

if TYPE_CHECKING:
    from pipeline.io.score import ScoreRecord
    from pipeline.run.rescoring import Rescored


@click.command("score")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--roi",
    type=click.Path(path_type=Path),
    help="Folder of regions of interest, one file a slide: QuPath GeoJSON or mask images.",
)
@click.option("--roi-required", is_flag=True, help="Leave slides without a region file unscored.")
@click.option("--no-roi", is_flag=True, help="Score the whole tissue again.")
@click.option("--threshold", type=float, help="Peak height of a cell, down to the model's floor.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--as-run", is_flag=True, help="Start from the run's own settings.")
@click.option("--force", is_flag=True, help="Also slides whose settings do not change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a slide on stdout.")
def score(
    *,
    out: Path,
    roi: Path | None,
    roi_required: bool,
    no_roi: bool,
    threshold: float | None,
    config_file: Path | None,
    pairs: tuple[str, ...],
    as_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Score a run again without predicting: threshold, regions of interest, category, quality.

    OUT is the folder of `ki67 run --out`. No slide is opened. Settings that are not given stay as
    they were at the last scoring; `ki67 score OUT --as-run` brings the run's own scores back.
    """
    from pipeline.report.html import write_report
    from pipeline.run.rescoring import ScoreRequest, rescore_archive

    if no_roi and (roi is not None or roi_required):
        raise click.UsageError("--no-roi does without regions: leave --roi and --roi-required out")
    changes = given_settings(config_file, pairs)
    changes = overlaid(changes, _flags(roi, threshold, required=roi_required, none=no_roi))
    ended, notices = rescore_archive(
        out,
        ScoreRequest(changes, as_run=as_run, force=force),
        on_slide=_tell_json if as_json else _tell,
        report=write_report,
    )
    for notice in notices:
        click.echo(f"ki67: {notice}", err=True)
    if not as_json:
        click.echo(_ending(ended, out))
    click.get_current_context().exit(int(any(item.outcome == "not_scored" for item in ended)))


def _flags(
    roi: Path | None, threshold: float | None, *, required: bool, none: bool
) -> dict[str, Any]:
    """Flags are settings: ``--roi DIR`` is ``--set roi.folder=DIR``."""
    changes: dict[str, Any] = {}
    if roi is not None:
        changes["roi"] = {"folder": str(roi), "file": None}
    if required:
        changes.setdefault("roi", {})["required"] = True
    if none:
        changes["roi"] = {"folder": "", "file": None, "required": False}
    if threshold is not None:
        changes["prediction"] = {"threshold": threshold}
    return changes


def _tell(slide: "Rescored", number: int, total: int) -> None:
    outcome = slide.outcome.replace("_", " ")
    line = f"[{number}/{total}] {slide.name}: {outcome}"
    if slide.outcome == "scored" and slide.score is not None and slide.before is not None:
        line += f", Ki-67 {_index(slide.before)} -> {_index(slide.score)}"
        line += f", {slide.score.counts.total} cells"
    if slide.reason:
        line += f" ({slide.reason})"
    click.echo(line, err=slide.outcome == "not_scored")


def _tell_json(slide: "Rescored", _number: int, _total: int) -> None:
    value = {
        "slide_id": slide.slide_id,
        "name": slide.name,
        "outcome": slide.outcome,
        "reason": slide.reason or None,
        "index_pct_before": None if slide.before is None else slide.before.ki67.index_pct,
        "index_pct": None if slide.score is None else slide.score.ki67.index_pct,
        "population": None if slide.score is None else slide.score.population,
    }
    click.echo(json.dumps(value, ensure_ascii=False))


def _index(score: "ScoreRecord") -> str:
    index_pct = score.ki67.index_pct
    return "none" if index_pct is None else f"{index_pct:.1f} %"


def _ending(ended: Sequence["Rescored"], out: Path) -> str:
    numbers = Counter(item.outcome.replace("_", " ") for item in ended)
    counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(numbers.items()))
    return f"{counts or 'no slides'}; results in {out}"
