"""The last line of a run: how many slides ended how, and the reasons of failures, most first."""

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from pipeline.run.events import RunSummary, SlideRecord

REASONS_TOLD = 4
_LONGEST = 90
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://.*?: ")
"""Of a slide behind a URL; a port is followed by no blank."""


def ending(summary: RunSummary, out: Path) -> str:
    """Say in one line what a run did and where to start reading."""
    numbers = Counter(record.outcome for record in summary.records)
    counts = ", ".join(
        f"{number} {outcome.replace('_', ' ')}" for outcome, number in sorted(numbers.items())
    )
    failures = failure_reasons([record for record in summary.records if record.failed])
    return f"{counts}{failures}; results in {out}, start with {out / 'report.html'}"


def failure_reasons(failed: list[SlideRecord]) -> str:
    """Reasons in brackets with their numbers, at most four; nothing when nothing failed."""
    if not failed:
        return ""
    reasons = Counter(_reason(record) for record in failed).most_common()
    told = [f"{number} x {reason}" for reason, number in reasons[:REASONS_TOLD]]
    if more := sum(number for _, number in reasons[REASONS_TOLD:]):
        told.append(f"{more} for other reasons")
    return f" ({'; '.join(told)})"


def _reason(record: SlideRecord) -> str:
    """The reason without the name of the slide, so that equal ones count together."""
    text = _ADDRESS.sub("", record.score.reason or "no reason given")
    for name in (record.name, PurePosixPath(record.name).name):
        text = text.removeprefix(f"{name}: ").replace(f" {name}", "").replace(name, "")
    text = " ".join(text.split()).strip(" :'\"")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
