"""What a run tells while it goes on, and what it hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pipeline.io.score import ScoreRecord

EventKind = Literal[
    "run_started",
    "workers",
    "slide_preparing",
    "slide_started",
    "region_done",
    "slide_finalising",
    "task_done",
    "slide_done",
    "deferred",
    "quarantined",
    "notice",
]
Outcome = Literal["scored", "already_done", "failed", "failed_before", "deferred", "skipped"]

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
class SlideName:
    """How a slide is called: by its id, below its input, and where it lies."""

    slide_id: str
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class Work:
    """What one task did.

    Attributes
    ----------
    cells
        Peaks at or above the threshold; near seams a few more than will be kept.
    pixels
        Model-frame pixels of the cores that were predicted.
    seconds
        By stage: prepare, read, forward, settle, measure, write, finalise.
    """

    tiles: int = 0
    unreadable: int = 0
    cells: int = 0
    pixels: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """Read the small result of a task; what it does not say is 0."""
        return cls(
            tiles=result.get("tiles", 0),
            unreadable=result.get("unreadable", 0),
            cells=result.get("cells", 0),
            pixels=result.get("pixels", 0),
            seconds=result.get("seconds", {}),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a run.

    Attributes
    ----------
    kind
        Kinds of one slide count its regions, but ``slide_done`` slides of the run; ``workers``
        counts those that are there. ``deferred`` and ``quarantined`` give the reason as message;
        such a slide may end later all the same.
    record
        Of a finished slide.
    work
        Of the task that ended with this step.
    run_id, slides
        Of a run that starts.
    """

    kind: EventKind
    slide_id: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    record: SlideRecord | None = None
    work: Work | None = None
    run_id: str = ""
    slides: tuple[SlideName, ...] = ()


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
