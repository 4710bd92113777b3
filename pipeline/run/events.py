"""What a run tells while it goes on, and what it hands back."""

from dataclasses import dataclass
from typing import Literal

from pipeline.io.score import ScoreRecord

EventKind = Literal["run_started", "slide_started", "region_done", "slide_done", "notice"]
Outcome = Literal["scored", "already_done", "failed", "failed_before"]

EXIT_OK = 0
EXIT_SLIDES_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 3
EXIT_INTERRUPTED = 75


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """How one slide of a run ended."""

    slide_id: str
    name: str
    outcome: Outcome
    score: ScoreRecord
    seconds: float
    """Wall-clock time since its first task was sent."""

    @property
    def failed(self) -> bool:
        """Whether it has no result."""
        return self.score.status == "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a run.

    Attributes
    ----------
    kind
        ``slide_started`` and ``region_done`` count regions of the slide, the others slides of
        the run.
    record
        Of a finished slide.
    """

    kind: EventKind
    slide_id: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    record: SlideRecord | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did: its slides in the order of the input."""

    run_id: str
    records: tuple[SlideRecord, ...]

    @property
    def exit_code(self) -> int:
        """0, or 1 when a slide failed that was not known to fail."""
        new = any(record.outcome == "failed" for record in self.records)
        return EXIT_SLIDES_FAILED if new else EXIT_OK
