"""Places of the charts' marks: distribution, caterpillar, cells against area; templates draw them.

Drawn as SVG by hand and not with a plotting library: a page of a hundred slides needs a few
kilobytes for its charts, follows the reader's colours, prints sharply and runs no script.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.io.score import ScoreRecord
from pipeline.report.text import count, interval, percent, plural, square_mm
from pipeline.report.words import status_wording

BIN_PCT = 5
LEAST_SLIDES = 8
"""Fewer slides are seen better in the table, whose bars show the same."""
MOST_LINKED = 300
"""Above it, marks are drawn as one path without a link each."""


Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in the chart's pixels, and its words."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the distribution."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A slide in a chart: its dot, its whiskers, where it leads."""

    x: float
    y: float
    low: float
    high: float
    tone: str
    words: str
    address: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of ``width`` x ``height`` pixels whose plot begins at (``left``, ``top``)."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    marks: tuple[Mark, ...] = ()
    cutoffs: tuple[Tick, ...] = ()
    middle: Tick | None = None
    lines: tuple[tuple[float, float, float, float, str], ...] = ()
    dots_path: str = ""
    whiskers_path: str = ""


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of a batch; what too few slides would make silly is None."""

    distribution: Chart | None
    caterpillar: Chart | None
    scatter: Chart | None


def make_charts(
    records: Sequence[ScoreRecord], addresses: Sequence[str], scale_pct: float
) -> Charts:
    """Lay out the charts of the slides that have an index.

    Parameters
    ----------
    records, addresses
        Slides and where their cards are.
    scale_pct
        End of the index axis.
    """
    pairs = list(zip(records, addresses, strict=True))
    known = [(record, address) for record, address in pairs if record.ki67.index_pct is not None]
    counted = [
        (record, address)
        for record, address in pairs
        if record.counts.total and record.area_mm2.analysed
    ]
    cutoffs = cutoffs_of(records)
    return Charts(
        _distribution([_index(record) for record, _ in known], scale_pct, cutoffs)
        if len(known) >= LEAST_SLIDES
        else None,
        _caterpillar(known, scale_pct, cutoffs) if len(known) >= LEAST_SLIDES else None,
        _scatter(counted) if len(counted) >= LEAST_SLIDES else None,
    )


def cutoffs_of(records: Sequence[ScoreRecord]) -> tuple[float, ...]:
    """Cut-offs that the user configured; none if nobody did."""
    found = {cutoff for record in records if record.category for cutoff in record.category.cutoffs}
    return tuple(sorted(found))


def _index(record: ScoreRecord) -> float:
    return record.ki67.index_pct or 0.0


def _distribution(values: Sequence[float], scale_pct: float, cutoffs: Sequence[float]) -> Chart:
    width, height, left, top, right, bottom = 400, 212, 34, 10, 394, 178
    bins = round(scale_pct / BIN_PCT)
    counts = [0] * bins
    for value in values:
        counts[min(int(value // BIN_PCT), bins - 1)] += 1
    most = max(counts)
    x_of, y_of = _linear(0, scale_pct, left, right), _linear(0, most, bottom, top)
    step = (right - left) / bins
    bars = tuple(
        Bar(
            round(left + place * step + 1, 1),
            round(y_of(number), 1),
            round(step - 2, 1),
            round(bottom - y_of(number), 1),
            f"{place * BIN_PCT} to {(place + 1) * BIN_PCT} %: {plural(number, 'slide')}",
        )
        for place, number in enumerate(counts)
        if number
    )
    return Chart(
        *(width, height, left, top, right, bottom),
        x_ticks=_percent_ticks(scale_pct, x_of),
        y_ticks=tuple(Tick(round(y_of(v), 1), f"{v:g}") for v in _round_steps(most)),
        bars=bars,
        cutoffs=tuple(Tick(round(x_of(c), 1), f"{c:g} %") for c in cutoffs if c <= scale_pct),
        middle=Tick(round(x_of(median(values)), 1), f"median {percent(median(values))}"),
    )


def _caterpillar(
    known: Sequence[tuple[ScoreRecord, str]], scale_pct: float, cutoffs: Sequence[float]
) -> Chart:
    width, height, left, top, right, bottom = 400, 212, 38, 10, 394, 194
    order = sorted(known, key=lambda pair: (_index(pair[0]), pair[0].slide.id))
    y_of = _linear(0, scale_pct, bottom, top)
    step = (right - left) / len(order)
    marks = []
    for place, (record, address) in enumerate(order):
        value = _index(record)
        low, high = record.ki67.bootstrap95 or record.ki67.wilson95 or (value, value)
        marks.append(
            Mark(
                x=round(left + (place + 0.5) * step, 2),
                y=round(y_of(value), 1),
                low=round(y_of(low), 1),
                high=round(y_of(min(high, scale_pct)), 1),
                tone=status_wording(record.status).tone,
                words=f"{record.slide.name}: {percent(value)} ({interval((low, high))})",
                address=address,
            )
        )
    dots, whiskers = _as_paths(marks)
    return Chart(
        *(width, height, left, top, right, bottom),
        x_ticks=(),
        y_ticks=_percent_ticks(scale_pct, y_of),
        marks=tuple(marks) if not dots else (),
        cutoffs=tuple(Tick(round(y_of(c), 1), f"{c:g} %") for c in cutoffs if c <= scale_pct),
        dots_path=dots,
        whiskers_path=whiskers,
    )


def _scatter(counted: Sequence[tuple[ScoreRecord, str]]) -> Chart:
    width, height, left, top, right, bottom = 400, 212, 62, 10, 386, 178
    areas = [record.area_mm2.analysed or 1.0 for record, _ in counted]
    cells = [record.counts.total or 1 for record, _ in counted]
    x_low, x_high = _decades(areas)
    y_low, y_high = _decades(cells)
    x_of, y_of = _linear(x_low, x_high, left, right), _linear(y_low, y_high, bottom, top)
    marks = [
        Mark(
            x=round(x_of(math.log10(area)), 1),
            y=round(y_of(math.log10(cell)), 1),
            low=0.0,
            high=0.0,
            tone=status_wording(record.status).tone,
            words=f"{record.slide.name}: {count(cell)} cells in {square_mm(area)} mm²",
            address=address,
        )
        for (record, address), area, cell in zip(counted, areas, cells, strict=True)
    ]
    dots, _ = _as_paths(marks)
    lines = []
    for power in range(2, 5):  # as many cells per mm2 anywhere on the line
        low, high = max(x_low, y_low - power), min(x_high, y_high - power)
        if low < high:
            x1, y1 = round(x_of(low), 1), round(y_of(low + power), 1)
            x2, y2 = round(x_of(high), 1), round(y_of(high + power), 1)
            lines.append((x1, y1, x2, y2, f"{10**power:,} per mm²"))
    return Chart(
        *(width, height, left, top, right, bottom),
        x_ticks=_decade_ticks(x_low, x_high, x_of),
        y_ticks=_decade_ticks(y_low, y_high, y_of),
        marks=tuple(marks) if not dots else (),
        lines=tuple(lines),
        dots_path=dots,
    )


def _linear(low: float, high: float, first_px: float, last_px: float) -> Place:
    """Map values to pixels along a straight axis."""
    per_unit = (last_px - first_px) / ((high - low) or 1.0)
    return lambda value: first_px + (value - low) * per_unit


def _as_paths(marks: Sequence[Mark]) -> tuple[str, str]:
    """Very many marks as two paths: dots (lines of no length with round ends) and whiskers."""
    if len(marks) <= MOST_LINKED:
        return "", ""
    dots = "".join(f"M{mark.x:g} {mark.y:g}h0" for mark in marks)
    return dots, "".join(f"M{mark.x:g} {mark.low:g}V{mark.high:g}" for mark in marks)


def _percent_ticks(scale_pct: float, place: Place) -> tuple[Tick, ...]:
    step = 10 if scale_pct <= 60 else 20
    return tuple(
        Tick(round(place(value), 1), f"{value} %") for value in range(0, int(scale_pct) + 1, step)
    )


def _round_steps(most: int) -> list[int]:
    """Three or four whole numbers from nought to ``most``."""
    step = next(
        size * 10**power for power in range(9) for size in (1, 2, 5) if size * 10**power * 4 >= most
    )
    return list(range(0, most + 1, step))


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _decade_ticks(low: int, high: int, place: Place) -> tuple[Tick, ...]:
    return tuple(
        Tick(round(place(power), 1), f"{10.0**power:,.{max(0, -power)}f}")
        for power in range(low, high + 1)
    )
