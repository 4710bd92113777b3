"""What a preflight tells of one slide."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "predict",
    "go on",
    "score again",
    "done",
    "known failure",
    "deferred",
    "skipped",
    "will fail",
]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run would find of one slide, and do with it; None where that could not be seen."""

    slide_id: str
    name: str
    verdict: Verdict
    reason: str = ""
    """Why it will fail and what helps, or why it is computed again."""
    reader: str | None = None
    vendor: str | None = None
    width: int | None = None
    height: int | None = None
    levels: int | None = None
    mpp_x: float | None = None
    mpp_y: float | None = None
    mpp_source: str | None = None
    objective: float | None = None
    tissue_mm2: float | None = None
    regions: int | None = None
    tiles: int | None = None
    """With tissue, of the whole slide."""
    regions_left: int | None = None
    tiles_left: int | None = None
    """Those that are not predicted yet."""
    look_s: float = 0.0
    """Seconds that opening and planning took."""
    expected_s: float | None = None
    """Of the run, with all its workers."""
    expected_bytes: int | None = None
