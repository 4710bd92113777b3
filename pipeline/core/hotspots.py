"""Hotspots: the places of highest labelling, and what chance alone would have found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.circles import Circle, CircleSearch
from pipeline.core.scoring import wilson95
from pipeline.core.squares import check_cells


@dataclass(frozen=True, slots=True)
class Hotspot:
    """A circle of high labelling, beside the highest that chance finds.

    Attributes
    ----------
    rank
        1 is the highest.
    x_um, y_um
        Centre, in the frame the cells came in.
    index_pct, wilson95
        Of the circle's cells, in percent. The interval is that of a circle chosen blindly: it does
        not know that the highest of many was taken.
    expected_max_if_uniform_pct
        Mean of the highest index that the same search finds when the labels are dealt at random
        over the same cells.
    p_value
        How often chance finds an index as high or higher anywhere on the slide.
    """

    rank: int
    x_um: float
    y_um: float
    radius_um: float
    cells: int
    positive: int
    index_pct: float
    wilson95: tuple[float, float]
    expected_max_if_uniform_pct: float
    p_value: float


def find_hotspots(
    x_um: NDArray[np.float64],
    y_um: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    count: int = 3,
    min_cells: int = 500,
    permutations: int = 99,
    max_radius_um: float = 1000.0,
    seed: int = 0,
) -> tuple[Hotspot, ...]:
    """Find the circles of ``min_cells`` cells with the highest index, none overlapping another.

    Parameters
    ----------
    x_um, y_um
        ``(N,)``, finite, in micrometres of any frame.
    positive
        ``(N,)``.
    count
        At most so many are returned; fewer where no further circle fits or holds a positive cell.
    min_cells
        Cells of a circle; it grows about its centre until it holds them.
    permutations
        Random deals of the labels; the smallest p-value is 1 / (1 + permutations).
    max_radius_um
        Circles that would have to be wider are not considered.
    seed
        Of the permutations.

    Raises
    ------
    ValueError
        The columns do not belong together, or a setting is below its least value.
    """
    check_cells(x_um, y_um, positive)
    if count < 0 or min_cells < 1 or permutations < 1 or max_radius_um <= 0:
        raise ValueError(
            f"count={count}, min_cells={min_cells}, permutations={permutations}, "
            f"max_radius_um={max_radius_um}: none may be negative, the last three not 0"
        )
    if not count or len(x_um) < min_cells or not positive.any():
        return ()
    left, top = float(x_um.min()), float(y_um.min())
    search, order = CircleSearch.of(
        x_um - left, y_um - top, min_cells=min_cells, max_radius_um=max_radius_um
    )
    found = _ranked(search, positive[order].astype(np.uint8), count)
    if not found:
        return ()
    chance = _chance_maxima(search, int(positive.sum()), permutations, seed)
    return tuple(
        _hotspot(rank, circle, left, top, chance) for rank, circle in enumerate(found, start=1)
    )


def _ranked(search: CircleSearch, labels: NDArray[np.uint8], count: int) -> list[Circle]:
    """Take the best circle, then the best that leaves those taken alone, and so on."""
    found: list[Circle] = []
    while len(found) < count:
        circle = search.best(labels, found)
        if circle is None or not circle.positive:
            break
        found.append(circle)
    return found


def _chance_maxima(
    search: CircleSearch, positive: int, permutations: int, seed: int
) -> NDArray[np.float64]:
    """Highest index, percent, of each random deal of the labels, ``(permutations,)``."""
    generator = np.random.Generator(np.random.PCG64(seed))
    labels = np.zeros(len(search.x_um), np.uint8)
    labels[:positive] = 1
    maxima = np.zeros(permutations)
    for first in range(0, permutations, search.deals_at_once):
        number = min(search.deals_at_once, permutations - first)
        dealt = np.empty((len(labels), number), np.uint8)
        for deal in range(number):
            generator.shuffle(labels)
            dealt[:, deal] = labels
        for deal, circle in enumerate(search.best_of_each(dealt), start=first):
            maxima[deal] = circle.index_pct if circle else 0.0
    return maxima


def _hotspot(
    rank: int, circle: Circle, left: float, top: float, chance: NDArray[np.float64]
) -> Hotspot:
    interval = wilson95(circle.positive, circle.cells)
    as_high = int(np.count_nonzero(chance >= circle.index_pct))
    return Hotspot(
        rank=rank,
        x_um=circle.x_um + left,
        y_um=circle.y_um + top,
        radius_um=circle.radius_um,
        cells=circle.cells,
        positive=circle.positive,
        index_pct=circle.index_pct,
        wilson95=interval or (0.0, 100.0),
        expected_max_if_uniform_pct=float(chance.mean()),
        p_value=(1 + as_high) / (1 + len(chance)),
    )
