"""The case of a slide, kept in its score: it survives runs that say nothing of cases."""

from dataclasses import replace
from pathlib import Path

from pipeline.errors import OutputError
from pipeline.io.done import DONE_NAME, describe_files, done_json, read_done
from pipeline.io.files import write_json_atomic
from pipeline.io.results import SCORE_NAME, read_score, write_score
from pipeline.io.score import ScoreRecord
from pipeline.io.staging import commit_staged, staging


def known_group(folder: Path) -> str | None:
    """Return the case that an earlier run put a slide in."""
    if not (folder / SCORE_NAME).exists():
        return None
    try:
        return read_score(folder / SCORE_NAME).slide.group
    except OutputError:  # damaged: it is made again
        return None


def grouped(folder: Path, score: ScoreRecord, group: str | None) -> ScoreRecord:
    """Put a finished slide in a case: its score and its done mark change as one, nothing else.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    if score.slide.group == group:
        return score
    slide = score.slide.model_copy(update={"group": group})
    changed = score.model_copy(update={"slide": slide})
    mark = read_done(folder)
    with staging(folder) as staged:
        write_score(staged / SCORE_NAME, changed)
        if mark is not None:
            files = dict(mark.files) | describe_files(staged)
            write_json_atomic(staged / DONE_NAME, done_json(replace(mark, files=files)))
        commit_staged(folder, staged, removed=[])
    return changed
