"""Cells counted in the squares of a lattice: what fields and blocks are made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SquareCounts:
    """Cells in the occupied squares of a lattice, row by row; every column ``(S,)``, int64."""

    column: NDArray[np.int64]
    row: NDArray[np.int64]
    positive: NDArray[np.int64]
    total: NDArray[np.int64]

    def joined(self, side: int, *, right: int = 0, down: int = 0) -> "SquareCounts":
        """Count in squares of ``side`` by ``side`` of these, the coarse lattice moved by a few."""
        return _counted(
            (self.column + right) // side, (self.row + down) // side, self.positive, self.total
        )


def check_cells(
    x_um: NDArray[np.float64], y_um: NDArray[np.float64], positive: NDArray[np.bool_]
) -> None:
    """Refuse columns that cannot be the cells of one slide.

    Raises
    ------
    ValueError
        The columns are not one-dimensional, differ in length, or hold a position that is no number.
    """
    shapes = {np.shape(x_um), np.shape(y_um), np.shape(positive)}
    if len(shapes) != 1 or len(shapes.pop()) != 1:
        raise ValueError(
            f"x_um {np.shape(x_um)}, y_um {np.shape(y_um)} and positive {np.shape(positive)} "
            "must be three columns of one length"
        )
    if not (np.isfinite(x_um).all() and np.isfinite(y_um).all()):
        raise ValueError("a position is NaN or infinite; every cell needs x_um and y_um")


def count_squares(
    x_um: NDArray[np.float64],
    y_um: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    side_um: float,
) -> SquareCounts:
    """Count cells in the occupied squares of a lattice.

    The lattice starts at the smallest x and the smallest y of the cells, so that moving all cells
    together changes nothing.

    Parameters
    ----------
    x_um, y_um
        ``(N,)``, finite, in micrometres of any frame.
    positive
        ``(N,)``.
    side_um
        Side of a square, above 0.
    """
    if not len(x_um):
        empty = np.empty(0, np.int64)
        return SquareCounts(empty, empty, empty, empty)
    column = ((x_um - x_um.min()) / side_um).astype(np.int64)
    row = ((y_um - y_um.min()) / side_um).astype(np.int64)
    return _counted(column, row, positive, np.ones(len(column), np.int64))


def _counted(
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    positive: NDArray[np.int64] | NDArray[np.bool_],
    total: NDArray[np.int64],
) -> SquareCounts:
    """Sum cells, or squares of a finer lattice, that share column and row."""
    if not len(column):
        return SquareCounts(column, row, column, column)
    width = int(column.max()) + 1
    number = row * width + column
    if int(number.max()) < 4 * len(number) + 1024:
        occupied = np.flatnonzero(np.bincount(number))
        place, length = number, int(occupied[-1]) + 1
    else:  # cells far apart: number only the squares in use
        occupied, place = np.unique(number, return_inverse=True)
        length = len(occupied)
    # sums of integers in float64 are exact up to 2**53 cells
    sums = [np.bincount(place, weights, length) for weights in (positive, total)]
    kept = occupied if length > len(occupied) else slice(None)
    row, column = np.divmod(occupied, width)
    marked, held = (one[kept].astype(np.int64) for one in sums)
    return SquareCounts(column, row, marked, held)
