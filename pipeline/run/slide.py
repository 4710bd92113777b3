"""One slide's way through a run, as the driver sees it."""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from pipeline.run.job import SlideJob


class Phase(Enum):
    """Where a slide stands; it goes down the list, and back to the top to be planned anew."""

    WAITING = auto()
    PREPARING = auto()
    REGIONS = auto()
    READY = auto()
    """Every region has its file; finalise is to be sent."""
    FINALISING = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Task:
    """One call sent to the cluster."""

    kind: str
    """``prepare``, ``region`` or ``finalise``."""
    slide: int
    index: int = 0
    """Of the region."""
    attempt: int = 0

    def again(self) -> "Task":
        """The same call, once more."""
        return Task(self.kind, self.slide, self.index, self.attempt + 1)

    def __str__(self) -> str:
        return f"region {self.index}" if self.kind == "region" else self.kind


@dataclass(slots=True)
class SlideProgress:
    """The driver's book-keeping for one slide; the truth is in the files."""

    job: SlideJob
    position: int
    phase: Phase = Phase.WAITING
    pending: deque[int] = field(default_factory=deque)
    flying: int = 0
    """Tasks sent and not back."""
    held: int = 0
    """Tasks that lost their worker and wait to be sent alone, or are on their way so."""
    done: int = 0
    total: int = 0
    plans: int = 0
    """Times the slide was planned anew."""
    failure: str | None = None
    retry_next_run: bool = False
    """The failure says nothing about the slide itself, so another run tries again."""
    started: float = 0.0
    room_bytes: int = 0
    """Of the disk, that its work and results may take."""

    @property
    def room_left_bytes(self) -> int:
        """Bytes it may still write: its results all at the end, its regions one by one."""
        return round(self.room_bytes * (1 - self.done / self.total / 2)) if self.total else 0

    @property
    def seconds(self) -> float:
        """Since the first task was sent."""
        return time.monotonic() - self.started if self.started else 0.0

    @property
    def idle(self) -> bool:
        """Nothing of it is with the cluster or waits to be sent again."""
        return self.flying == 0 and self.held == 0

    def begin(self) -> None:
        """Start the clock and wait for the plan."""
        self.phase = Phase.PREPARING
        self.started = self.started or time.monotonic()

    def planned(self, missing: list[int], total: int) -> None:
        """Take the regions to send."""
        self.pending = deque(missing)
        self.done, self.total = total - len(missing), total
        self.phase = Phase.REGIONS if missing else Phase.READY

    def region_done(self) -> None:
        """Count one region; the last one makes the slide ready."""
        self.done += 1
        if self.idle and not self.pending and self.failure is None:
            self.phase = Phase.READY

    def fail(self, reason: str, *, retry_next_run: bool = False) -> None:
        """Send nothing more; the first reason stands."""
        self.pending.clear()
        if self.failure is None:
            self.failure, self.retry_next_run = reason, retry_next_run

    def plan_anew(self) -> None:
        """Forget what was sent and ask the files again."""
        self.phase = Phase.WAITING
        self.pending.clear()
        self.plans += 1

    def connection_lost(self) -> None:
        """Nothing that was sent will come back."""
        if self.phase is not Phase.DONE:
            self.flying = self.held = self.room_bytes = 0
            self.pending.clear()
            self.phase = Phase.WAITING
