"""Slides that are set aside in a run: still arriving, left out on request, or changed meanwhile."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import InterruptedRunError
from pipeline.io.arrivals import Look, look_at, unsettled
from pipeline.io.results import DONE_NAME, SCORE_NAME, write_score
from pipeline.io.score import ScoreRecord, SlideIdentity
from pipeline.io.sources import SlideInput
from pipeline.run.events import Outcome
from pipeline.run.job import SlideJob
from pipeline.run.stop import StopRequest


@dataclass(slots=True)
class SetAside:
    """What a run does not touch now.

    Attributes
    ----------
    looks
        What the slides' files looked like at the start, by slide id.
    young
        Why a slide may still be arriving; empty after the second look.
    skipped
        Why a slide is left out on request.
    """

    settle_s: float
    looks: Mapping[str, Look]
    young: dict[str, str]
    skipped: dict[str, str]
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, slides: list[SlideInput], settle_s: float) -> "SetAside":
        """Remember what was found at the start."""
        return cls(
            settle_s,
            looks={slide.slide_id: slide.seen for slide in slides if slide.seen is not None},
            young={slide.slide_id: slide.deferred for slide in slides if slide.deferred},
            skipped={slide.slide_id: slide.skipped for slide in slides if slide.skipped},
        )

    @property
    def wait_s(self) -> float:
        """Time left before a second look says something."""
        left_s = self.began + self.settle_s - time.monotonic()
        return max(0.0, left_s) if self.young else 0.0

    def wait(self, stop: StopRequest) -> None:
        """Let ``settle_s`` pass since the first look.

        Raises
        ------
        InterruptedRunError
            The run was asked to stop.
        """
        while self.wait_s > 0 and not stop.requested:
            stop.wait(self.wait_s)
        if stop.requested:
            raise InterruptedRunError(stop.words)

    @property
    def notice(self) -> str:
        """One line about what is waited for, empty where nothing is."""
        if not self.wait_s:
            return ""
        number = len(self.young)
        slides = "1 slide that" if number == 1 else f"{number} slides that"
        return f"looking again in {self.wait_s:.0f} s at {slides} may still be arriving"

    def holds(self, job: SlideJob) -> bool:
        """Whether a slide is set aside."""
        return job.slide_id in self.young or job.slide_id in self.skipped

    def turn_to(self, job: SlideJob) -> tuple[Outcome, ScoreRecord] | None:
        """End a slide that is set aside; None where it is to be driven now.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        reason = self.skipped.pop(job.slide_id, None)
        if reason is not None:
            return "skipped", put_off(job, "skipped", reason)
        reason = self._second_look(job)
        return None if reason is None else ("deferred", put_off(job, "deferred", reason))

    def _second_look(self, job: SlideJob) -> str | None:
        """Say why a young slide is still not to be touched; None where it is settled now."""
        before, now = self.looks.get(job.slide_id), look_at(Path(job.path))
        self.young.pop(job.slide_id)
        if now is None or now == before:
            return None  # one that is gone fails as a slide
        reason = unsettled(now, settle_s=self.settle_s, now_s=time.time())
        if reason is None:
            self.looks = {**self.looks, job.slide_id: now}
        return reason

    def changed_meanwhile(self, job: SlideJob) -> bool:
        """Whether a slide's files are no longer what they were at the start."""
        before = self.looks.get(job.slide_id)
        if before is None:
            return False
        now = look_at(Path(job.path))
        return now is not None and now != before


def put_off(job: SlideJob, status: Literal["deferred", "skipped"], reason: str) -> ScoreRecord:
    """Say that a slide was not touched; what an earlier run made of it stays.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    record = ScoreRecord(
        slide=SlideIdentity(id=job.slide_id, name=job.name, group=job.group),
        status=status,
        reason=reason,
    )
    if not (job.folder / DONE_NAME).exists():
        write_score(job.folder / SCORE_NAME, record)
    return record
