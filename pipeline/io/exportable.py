"""Which slides of an output folder can be exported: the files that are needed, read again."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigError
from pipeline.io.done import DONE_NAME, read_done, unsound_files
from pipeline.io.exports import HEATMAP_NAME
from pipeline.io.qupath import has_cells
from pipeline.io.results import SCORE_NAME
from pipeline.io.score import ScoreRecord

_REMEDY = "run `ki67 verify` and then the same `ki67 run` again"


@dataclass(frozen=True, slots=True)
class Exportable:
    """Slides by what can be exported of them.

    Attributes
    ----------
    sound
        Scored, with cells, and every file that is needed is what the done mark says.
    empty
        Without cells to export: failed, put off, or of unknown scale.
    refused
        One line for each of the others, and for those of ``empty`` that were asked for.
    """

    sound: list[ScoreRecord]
    empty: list[ScoreRecord]
    refused: list[str]


def exportable(
    out: Path, records: Sequence[ScoreRecord], names: Sequence[str] = (), *, maps: bool
) -> Exportable:
    """Tell slides that can be exported from the others; nothing is changed.

    Parameters
    ----------
    records
        All scores of the folder.
    names
        Ids or file names, with their folders or without; none for all slides.
    maps
        Whether heatmaps are needed: they are most of a slide's bytes.

    Raises
    ------
    ConfigError
        There is no slide of a name.
    """
    done = {path.parent.name for path in out.glob(f"slides/*/{DONE_NAME}")}
    lost = sorted(done - {record.slide.id for record in records})
    if names:
        _check_known(names, records, lost)
        records = [record for record in records if not _words(record).isdisjoint(names)]
        lost = [slide_id for slide_id in lost if slide_id in names]
    found = Exportable(
        [], [], [f"{slide_id}: {SCORE_NAME}: missing; {_REMEDY}" for slide_id in lost]
    )
    for record in records:
        if record.status in {"failed", "deferred", "skipped"}:
            found.empty.append(record)
        elif problem := _problem(out / "slides" / record.slide.id, maps=maps):
            found.refused.append(f"{record.slide.name}: {problem}")
        else:
            (found.sound if has_cells(out, record) else found.empty).append(record)
    if names:
        found.refused.extend(f"{record.slide.name}: {_why_empty(record)}" for record in found.empty)
    return found


def _words(record: ScoreRecord) -> set[str]:
    """What a slide may be called."""
    slide = record.slide
    return {slide.id, slide.name, PurePosixPath(slide.name).name}


def _check_known(
    names: Sequence[str], records: Sequence[ScoreRecord], others: Sequence[str]
) -> None:
    known = sorted({*others, *(word for record in records for word in _words(record))})
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--slide {name}: no such slide in these results{hint}")


def _problem(folder: Path, *, maps: bool) -> str | None:
    mark = read_done(folder)
    if mark is None:
        return "it is not finished; run the same `ki67 run` again"
    of_map = f"{HEATMAP_NAME}/"
    needed = {
        name: kept for name, kept in mark.files.items() if maps or not name.startswith(of_map)
    }
    problems = unsound_files(folder, replace(mark, files=needed))
    if not problems:
        return None
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}; {_REMEDY}"


def _why_empty(record: ScoreRecord) -> str:
    return f"{record.status.replace('_', ' ')}: {record.reason or 'it has no cells to export'}"
