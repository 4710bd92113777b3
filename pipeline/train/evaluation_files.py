"""Everything an evaluation writes: figures, predictions, pictures of fields, threshold sweeps."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.train.evaluate import CRITERIA
from pipeline.train.field_picture import write_field_picture
from pipeline.train.predictions import PREDICTIONS_NAME, write_predictions
from pipeline.train.report import write_evaluation
from pipeline.train.scoring import ScoredSet
from pipeline.train.sweep_plot import plot_sweep

PICTURES_FOLDER = "pictures"
_TOGETHER = "all"


def write_files(
    out: Path,
    scored: Sequence[ScoredSet],
    baseline: Sequence[ScoredSet] = (),
    *,
    pictures: bool = True,
    on_picture: Callable[[], None] | None = None,
) -> list[Path]:
    """Write an evaluation into a folder; return the paths of its files and folders.

    Parameters
    ----------
    scored
        Sets and what the model found there.
    baseline
        The same sets and what the classical detector found; rows of the tables only.
    pictures
        Whether to draw every field that has pixels.
    on_picture
        Called after each picture.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    written = list(write_evaluation(out, all_scores(scored, baseline)))
    own = [part for part in scored if part.name != _TOGETHER or len(scored) == 1]
    write_predictions(
        out / PREDICTIONS_NAME, {part.name: (part.fields, part.detection) for part in own}
    )
    written.append(out / PREDICTIONS_NAME)
    for part in scored:
        rows, used = part.figures["sweep"], part.detection.threshold
        if rows and used is not None:
            path = out / f"sweep-{_safe(part.name)}.png"
            title = f"{part.name}, within {CRITERIA[0].radius:g} um"
            plot_sweep(path, rows, used=used, title=title)
            written.append(path)
    if pictures:
        written += [folder for part in own for folder in _pictures(out, part, on_picture)]
    return written


def all_scores(
    scored: Sequence[ScoredSet], baseline: Sequence[ScoredSet] = ()
) -> dict[str, dict[str, object]]:
    """Figures by the name of the set; those of the baseline say so in the name."""
    scores = {}
    for part in scored:
        scores[part.name] = part.figures
        for other in baseline:
            if other.name == part.name:
                scores[f"{part.name}, {other.detection.model}"] = other.figures
    return scores


def _pictures(out: Path, part: ScoredSet, on_picture: Callable[[], None] | None) -> list[Path]:
    drawn = [
        (field, cells)
        for field, cells in zip(part.fields, part.detection.found, strict=True)
        if field.has_pixels
    ]
    folder = out / PICTURES_FOLDER / _safe(part.name)
    taken: set[str] = set()
    for field, cells in drawn:
        name = _safe(field.name)
        while name.lower() in taken:  # some disks do not tell capitals from small letters
            name += "-"
        taken.add(name.lower())
        path = folder / f"{name}.jpg"
        write_field_picture(path, field, cells, criterion=CRITERIA[0])
        if on_picture is not None:
            on_picture()
    return [folder] if drawn else []


def _safe(name: str) -> str:
    """A name that is one part of a path on any system."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "field"
