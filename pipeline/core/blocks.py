"""Extrema of square blocks and windows of a map, whole rows at a time: at the speed of memory."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Plane = TypeVar("Plane", NDArray[np.float32], NDArray[np.bool_])


def window_maxima(plane: Plane, side: int) -> Plane:
    """Return the highest value of the window about every pixel of ``(H, W)``.

    Parameters
    ----------
    plane
        Beyond it there is nothing that could be higher.
    side
        Of the square window, odd.
    """
    return _over_rows(_over_rows(plane, side, np.maximum).T, side, np.maximum).T


def window_minima(plane: Plane, side: int) -> Plane:
    """Return the lowest value of the window about every pixel; see ``window_maxima``."""
    return _over_rows(_over_rows(plane, side, np.minimum).T, side, np.minimum).T


def _over_rows(plane: Plane, side: int, chosen: np.ufunc) -> Plane:
    """The chosen of ``side`` rows about each: of two, of four, ... rows, then of two such spans."""
    reach = side // 2
    # the border's pixel lies in every window that leaves the plane there: repeated, it adds nothing
    best = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
    width = 1
    while 2 * width <= side:
        best = chosen(best[:-width], best[width:])
        width *= 2
    if width < side:
        best = chosen(best[: len(plane)], best[side - width :])
    return best


def block_maxima(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the highest value of every ``side`` x ``side`` block of ``(..., H, W)``.

    Blocks begin at the first pixel; the last ones of a row or column may be smaller.

    Returns
    -------
    ``(..., ceil(H / side), ceil(W / side))``.
    """
    return _thinned(_thinned(values, side, axis=-2), side, axis=-1)


def _thinned(values: NDArray[np.float32], side: int, *, axis: int) -> NDArray[np.float32]:
    highest: NDArray[np.float32] = values[_from(0, side, axis)].copy()
    for start in range(1, side):
        part = values[_from(start, side, axis)]
        # the last block may have no such row
        place = highest[_first(part.shape[axis], axis)]
        np.maximum(place, part, out=place)
    return highest


def _from(start: int, step: int, axis: int) -> tuple[Any, ...]:
    return (..., slice(start, None, step), *[slice(None)] * (-axis - 1))


def _first(number: int, axis: int) -> tuple[Any, ...]:
    return (..., slice(number), *[slice(None)] * (-axis - 1))
