"""The circle about each point of a lattice that just holds enough cells, and the best of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

BINS_PER_RADIUS = 6
"""Bins across the radius of a typical circle: centres are searched at that distance."""
LADDER_FACTOR = 1.08
"""Ratio of neighbouring radii that the first, binned search tries."""
DENSITY_UM = 100.0
"""Side of the squares the typical density of cells is taken from."""
MAX_BINS = 8_000_000
"""Where cells lie so far apart that more bins were needed, the bins grow."""
AT_ONCE = 4_000_000
"""Numbers that several labellings may take together: 16 MB."""
RECOUNTED = 16
"""How many of the best binned circles are recounted cell by cell."""


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle that holds ``cells`` cells, ``positive`` of them positive."""

    x_um: float
    y_um: float
    radius_um: float
    cells: int
    positive: int

    @property
    def index_pct(self) -> float:
        """Positive cells in percent."""
        return 100.0 * self.positive / self.cells

    def overlaps(self, other: Self) -> bool:
        """Whether the two share more than a point of their border."""
        distance = math.hypot(self.x_um - other.x_um, self.y_um - other.y_um)
        return distance < self.radius_um + other.radius_um


@dataclass(frozen=True, slots=True)
class CircleSearch:
    """Cells sorted into bins, and for each occupied bin the binned disc with enough cells.

    Made once by ``of``; then any labels of the same cells can be searched.

    Attributes
    ----------
    x_um, y_um
        ``(N,)``, in the search's own order, from the smallest x and y of the cells.
    before
        ``(bins + 1,)``: how many cells come before each bin. Bins are numbered row by row, with
        empty bins all around so that no disc leaves the lattice.
    centres
        ``(C,)``, bin numbers, in groups of equal ``radius``; ``ends`` closes the groups.
    held
        ``(C,)``, cells of each binned disc.
    radii
        ``(G,)``, radius of each group in bins.
    """

    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    before: NDArray[np.int32]
    width: int
    margin: int
    bin_um: float
    min_cells: int
    centres: NDArray[np.int64]
    held: NDArray[np.int32]
    radii: NDArray[np.float64]
    ends: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        x_um: NDArray[np.float64],
        y_um: NDArray[np.float64],
        *,
        min_cells: int,
        max_radius_um: float,
    ) -> tuple[Self, NDArray[np.int64]]:
        """Sort cells into bins; return the search and the order its labels must be in."""
        bin_um = _bin_um(x_um, y_um, min_cells)
        margin = math.floor(max_radius_um / bin_um) + 1
        column = (x_um / bin_um).astype(np.int64) + margin
        row = (y_um / bin_um).astype(np.int64) + margin
        width = int(column.max()) + 1 + margin
        bins = width * (int(row.max()) + 1 + margin)
        number = row * width + column
        order = np.lexsort((x_um, y_um, number))
        counts = np.bincount(number, minlength=bins)
        before = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        centres, held, radii, ends = _grow(
            np.flatnonzero(counts), before, width, min_cells, max_radius_um / bin_um
        )
        search = cls(
            x_um[order],
            y_um[order],
            before,
            width,
            margin,
            bin_um,
            min_cells,
            centres,
            held,
            radii,
            ends,
        )
        return search, order

    def best(self, labels: NDArray[np.uint8], taken: Sequence[Circle] = ()) -> Circle | None:
        """Find the circle of the highest index that overlaps none of those taken.

        Parameters
        ----------
        labels
            ``(N,)``, 1 for positive, in the search's order.
        taken
            Circles the new one must not overlap.
        """
        index = self._binned_index(labels[:, None])[:, 0]
        for circle in taken:
            index[self._near(circle)] = -1.0
        return self._best_of(index, labels, taken)

    def best_of_each(self, labels: NDArray[np.uint8]) -> Iterator[Circle | None]:
        """Find the circle of the highest index for each column of labels ``(N, deals)``."""
        index = self._binned_index(labels)
        for deal in range(labels.shape[1]):
            yield self._best_of(index[:, deal], labels[:, deal], ())

    @property
    def deals_at_once(self) -> int:
        """Columns of labels that ``best_of_each`` takes without much memory."""
        numbers = len(self.x_um) + len(self.before) + 3 * len(self.centres)
        return max(1, AT_ONCE // numbers)

    def _best_of(
        self, index: NDArray[np.float64], labels: NDArray[np.uint8], taken: Sequence[Circle]
    ) -> Circle | None:
        left = int(np.count_nonzero(index >= 0))
        tried = RECOUNTED
        while left:
            tried = min(tried, left)
            first = np.argpartition(-index, tried - 1)[:tried]
            found = [self._recount(labels, int(centre)) for centre in np.sort(first)]
            free = [one for one in found if not any(one.overlaps(other) for other in taken)]
            if free:
                return min(
                    free, key=lambda one: (-one.index_pct, one.radius_um, one.y_um, one.x_um)
                )
            if tried == left:
                break
            tried *= 4
        return None

    def _binned_index(self, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Share of positive cells of each centre's binned disc, ``(C, deals)``."""
        deals = labels.shape[1]
        sums = np.zeros((len(labels) + 1, deals), np.int32)
        np.cumsum(labels, axis=0, dtype=np.int32, out=sums[1:])
        positive = sums[self.before]
        marked = np.empty((len(self.centres), deals), np.int32)
        start = 0
        for radius, end in zip(self.radii, self.ends, strict=True):
            marked[start:end] = disc_sums(positive, self.centres[start:end], self.width, radius)
            start = end
        return marked / self.held[:, None]

    def _near(self, circle: Circle) -> NDArray[np.bool_]:
        """Which centres' discs would overlap a circle, ``(C,)``."""
        row, column = np.divmod(self.centres, self.width)
        x_um = (column - self.margin + 0.5) * self.bin_um
        y_um = (row - self.margin + 0.5) * self.bin_um
        sizes = np.diff(self.ends, prepend=0)
        own_um = np.repeat(self.radii, sizes) * self.bin_um
        near: NDArray[np.bool_] = (
            np.hypot(x_um - circle.x_um, y_um - circle.y_um) < circle.radius_um + own_um
        )
        return near

    def _recount(self, labels: NDArray[np.uint8], centre: int) -> Circle:
        """Grow the circle about a bin's centre cell by cell until it holds enough."""
        group = int(np.searchsorted(self.ends, centre, side="right"))
        row, column = divmod(int(self.centres[centre]), self.width)
        # every cell of the binned disc lies within half a bin's diagonal of the disc's radius
        reach = float(self.radii[group]) + math.sqrt(0.5)
        cells = self._cells_about(row, column, math.ceil(reach))
        x_um = (column - self.margin + 0.5) * self.bin_um
        y_um = (row - self.margin + 0.5) * self.bin_um
        distance = np.hypot(self.x_um[cells] - x_um, self.y_um[cells] - y_um)
        last = float(np.partition(distance, self.min_cells - 1)[self.min_cells - 1])
        inside = distance <= last
        beyond = float(distance[~inside].min(initial=max(last, reach * self.bin_um)))
        # half-way to the next cell: rounding of the radius moves no cell in or out
        return Circle(
            x_um,
            y_um,
            (last + beyond) / 2,
            int(np.count_nonzero(inside)),
            int(labels[cells[inside]].sum()),
        )

    def _cells_about(self, row: int, column: int, reach: int) -> NDArray[np.int64]:
        """Cells of a square of bins about one, bin by bin."""
        rows = np.arange(max(0, row - reach), row + reach + 1)
        wide = min(reach, self.margin)
        last = rows * self.width + column + wide + 1
        last = last[last < len(self.before)]
        starts, ends = self.before[last - 2 * wide - 1], self.before[last]
        sizes = ends - starts
        # each row of bins holds a run of cells: one count through all runs, moved to each start
        return np.arange(sizes.sum()) + np.repeat(ends - np.cumsum(sizes), sizes)


def disc_sums(
    before: NDArray[np.int32], centres: NDArray[np.int64], width: int, radius: float
) -> NDArray[np.int32]:
    """Sum bins over discs: those whose centre lies within ``radius`` bins.

    ``before`` holds running sums over the bins row by row, so that a row of a disc is one
    difference; ``(bins + 1,)`` or, for several labellings at once, ``(bins + 1, deals)``.
    """
    sums = np.zeros((len(centres), *before.shape[1:]), np.int32)
    at, value = np.empty_like(centres), np.empty_like(sums)
    for step in range(-math.floor(radius), math.floor(radius) + 1):
        half = math.floor(math.sqrt(radius * radius - step * step))
        np.add(centres, step * width + half + 1, out=at)
        # no disc leaves the lattice; "clip" spares the check and half the time
        sums += np.take(before, at, axis=0, out=value, mode="clip")
        at -= 2 * half + 1
        sums -= np.take(before, at, axis=0, out=value, mode="clip")
    return sums


def _bin_um(x_um: NDArray[np.float64], y_um: NDArray[np.float64], min_cells: int) -> float:
    """Side of a bin: a part of the radius that enough cells take where cells are."""
    column, row = (x_um / DENSITY_UM).astype(np.int64), (y_um / DENSITY_UM).astype(np.int64)
    _, counts = np.unique(row * (int(column.max()) + 1) + column, return_counts=True)
    # the density around a cell, averaged over cells: empty tissue does not count
    per_um2 = float((counts.astype(np.float64) ** 2).sum() / counts.sum()) / DENSITY_UM**2
    bin_um = math.sqrt(min_cells / (math.pi * per_um2)) / BINS_PER_RADIUS
    while (x_um.max() / bin_um + 1) * (y_um.max() / bin_um + 1) > MAX_BINS:
        bin_um *= 2
    return bin_um


def _grow(
    centres: NDArray[np.int64],
    before: NDArray[np.int32],
    width: int,
    min_cells: int,
    max_radius: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Give each centre the smallest radius of a ladder whose disc holds enough cells.

    Returns
    -------
    Centres and cells held, in groups of equal radius; radius and end of each group.
    """
    done: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    held: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    radii: list[float] = []
    radius = 0.5
    while len(centres) and radius <= max_radius:
        sums = disc_sums(before, centres, width, radius)
        enough = sums >= min_cells
        if enough.any():
            done.append(centres[enough])
            held.append(sums[enough])
            radii.append(radius)
            centres = centres[~enough]
        radius *= LADDER_FACTOR
    ends = np.cumsum([len(group) for group in done[1:]], dtype=np.int64)
    return np.concatenate(done), np.concatenate(held), np.array(radii), ends
