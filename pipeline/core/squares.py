"""Cells counted in the squares of a lattice: what fields and blocks are made of."""

import numpy as np
from numpy.typing import NDArray


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


def square_counts(
    x_um: NDArray[np.float64],
    y_um: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    side_um: float,
    shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
    shift
        By which part of a side the lattice is moved along x and y, each in [0, 1).

    Returns
    -------
    Positive cells and all cells of each square that holds a cell, ``(S,)`` each, row by row.
    """
    if not len(x_um):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    column = np.floor((x_um - x_um.min()) / side_um + shift[0]).astype(np.int64)
    row = np.floor((y_um - y_um.min()) / side_um + shift[1]).astype(np.int64)
    flat = row * (int(column.max()) + 1) + column
    if flat.max() > 4 * len(flat) + 1024:  # cells far apart: number only the squares in use
        _, flat = np.unique(flat, return_inverse=True)
    total = np.bincount(flat)
    marked = np.bincount(flat[positive], minlength=len(total))
    occupied = total > 0
    return marked[occupied], total[occupied]
