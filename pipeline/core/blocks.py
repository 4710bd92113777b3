"""Maxima of square blocks of a map, in whole rows at a time: at the speed of memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
