"""How fast a run goes and when it will end, from what its finished regions took."""

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 900.0
"""Rates are of the last quarter of an hour: a slow slide early on is forgotten."""

REGIONS_KNOWN = 8
"""Fewer finished regions say nothing about the rest of a batch."""

REGIONS_KNOWN_SLIDE = 3
SAMPLES = 600
_WINDOW_REGIONS = 4096


@dataclass(frozen=True, slots=True)
class Sample:
    """The sums of a run at one moment: seconds since its start, pixels, cells."""

    at_s: float
    pixels: int
    cells: int


@dataclass(slots=True)
class Pace:
    """Finished regions of the last minutes, and a thinned history of the whole run."""

    first_s: float | None = None
    regions: int = 0
    pixels: int = 0
    cells: int = 0
    history: list[Sample] = field(default_factory=lambda: [Sample(0.0, 0, 0)])
    step_s: float = 1.0
    _recent: deque[tuple[float, int, int]] = field(
        default_factory=lambda: deque(maxlen=_WINDOW_REGIONS)
    )

    def begin(self, at_s: float) -> None:
        """Start the clock of the rates when the first slide's regions are sent."""
        if self.first_s is None:
            self.first_s = at_s

    def add(self, at_s: float, *, pixels: int, cells: int) -> None:
        """Count one finished region."""
        self.begin(at_s)
        self.regions += 1
        self.pixels += pixels
        self.cells += cells
        self._recent.append((at_s, pixels, cells))
        while self._recent and self._recent[0][0] < at_s - WINDOW_S:
            self._recent.popleft()
        if at_s - self.history[-1].at_s >= self.step_s:
            self._keep(Sample(at_s, self.pixels, self.cells))

    def rates(self, now_s: float) -> tuple[float, float, float] | None:
        """Regions, pixels and cells a second; None until enough regions are done.

        Time without any finished region counts, so a run that hangs slows down.
        """
        if self.regions < REGIONS_KNOWN or self.first_s is None:
            return None
        since = max(self.first_s, now_s - WINDOW_S)
        if len(self._recent) == self._recent.maxlen:
            since = max(since, self._recent[0][0])
        last = [entry for entry in self._recent if entry[0] >= since]
        span = max(now_s - since, 1e-3)
        pixels, cells = sum(entry[1] for entry in last), sum(entry[2] for entry in last)
        return len(last) / span, pixels / span, cells / span

    def _keep(self, sample: Sample) -> None:
        self.history.append(sample)
        if len(self.history) > SAMPLES:  # a run of days costs no more than one of minutes
            self.history = self.history[::2]
            self.step_s *= 2


def slide_eta_s(*, done_here: int, left: int, taken_s: float) -> float | None:
    """Seconds until a slide's regions are done, at its own rate; None until that is known."""
    if done_here < REGIONS_KNOWN_SLIDE:
        return None
    return left * taken_s / done_here


def batch_eta_s(
    pace: Pace, now_s: float, *, left: int, waiting: int, planned: int, slides_planned: int
) -> float | None:
    """Seconds until a batch is done; None until that is known.

    Parameters
    ----------
    left
        Regions that are planned and not done.
    waiting
        Slides without a plan: each is taken to be as large as the mean of those with one.
    planned, slides_planned
        Regions of all slides with a plan, and how many slides those are.
    """
    rates = pace.rates(now_s)
    if rates is None or rates[0] <= 0 or slides_planned == 0:
        return None
    return (left + waiting * planned / slides_planned) / rates[0]
