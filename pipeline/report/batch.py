"""A batch as the report tells it: its records, how many ended how, what made them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import __version__
from pipeline.errors import OutputError
from pipeline.io.results import DONE_NAME, SCORE_NAME, WORK_NAME, read_score
from pipeline.io.score import ScoreRecord, SlideIdentity
from pipeline.report.changes import Changes
from pipeline.report.words import STATUS_WORDS


@dataclass(frozen=True, slots=True)
class Banner:
    """What stands on top: how many slides ended how, and what made the numbers.

    Attributes
    ----------
    slides
        How many there are.
    counts
        (status, words, tone, number) of each status that occurs.
    flags
        (flag, number of slides) of each flag that occurs, most first.
    models, settings
        Every model and every settings digest in the table; more than one is said aloud.
    caveats, versions
        Of the models; of the program.
    pending
        Slides that are begun and not done.
    scale_pct
        End of the index axis: the same for table and charts.
    latest
        When the last slide ended, UTC in ISO 8601.
    changes
        Since the last run, where the ledger knows one.
    """

    slides: int
    counts: tuple[tuple[str, str, str, int], ...]
    flags: tuple[tuple[str, int], ...]
    models: tuple[str, ...]
    settings: tuple[str, ...]
    caveats: tuple[str, ...]
    versions: tuple[str, ...]
    pending: int
    scale_pct: float
    latest: str
    changes: Changes | None


def load_records(out: Path) -> tuple[list[ScoreRecord], int]:
    """Read every slide's score, and count slides that are begun and not done.

    A score that is damaged, or gone though the slide is done, becomes a failed slide: it must not
    hide the others, nor be hidden.

    Raises
    ------
    OutputError
        There is no ``slides`` folder with a slide in it.
    """
    folders = sorted(path for path in (out / "slides").glob("*") if path.is_dir())
    if not folders:
        raise OutputError(
            f"{out.name or out}: no results here; name the folder of `ki67 run --out`"
        )
    records, pending = [], 0
    for folder in folders:
        if (folder / SCORE_NAME).exists() or (folder / DONE_NAME).exists():
            records.append(_record(folder))
        elif (folder / WORK_NAME).exists():
            pending += 1
    return records, pending


def worst_first(records: Sequence[ScoreRecord]) -> list[ScoreRecord]:
    """Order slides: what needs a hand comes first, then by name."""
    return sorted(records, key=lambda r: (STATUS_WORDS[r.status].rank, r.slide.name, r.slide.id))


def make_banner(
    records: Sequence[ScoreRecord], pending: int, changes: Changes | None = None
) -> Banner:
    """Sum up the slides."""
    by_status = Counter(record.status for record in records)
    by_flag = Counter(flag for record in records for flag in set(record.flags))
    return Banner(
        slides=len(records),
        counts=tuple(
            (status, wording.label, wording.tone, by_status[status])
            for status, wording in reversed(STATUS_WORDS.items())
            if by_status[status]
        ),
        flags=tuple(sorted(by_flag.items(), key=lambda item: (-item[1], item[0]))),
        models=_distinct(_model(record) for record in records),
        settings=_distinct((r.provenance.config_sha256 or "")[:12] for r in records),
        caveats=_distinct(record.caveat for record in records),
        versions=_distinct(r.provenance.version for r in records) or (__version__,),
        pending=pending,
        scale_pct=_scale_pct(records),
        latest=max((record.provenance.ended or "" for record in records), default=""),
        changes=changes,
    )


def _scale_pct(records: Sequence[ScoreRecord]) -> float:
    """A round end of the axis beyond every interval."""
    intervals = [record.ki67.bootstrap95 or record.ki67.wilson95 for record in records]
    highest = max((ends[1] for ends in intervals if ends), default=0.0)
    return min(100.0, max(20.0, math.ceil(highest / 10) * 10.0))


def _record(folder: Path) -> ScoreRecord:
    try:
        return read_score(folder / SCORE_NAME)
    except OutputError as error:
        return ScoreRecord(
            slide=SlideIdentity(id=folder.name, name=folder.name),
            status="failed",
            reason=str(error),
        )


def _model(record: ScoreRecord) -> str:
    made = record.provenance
    if made.weights is None:
        return ""
    return f"{made.weights} ({(made.weights_sha256 or 'no checksum')[:12]})"


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))
