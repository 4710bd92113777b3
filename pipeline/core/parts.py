"""Which rectangles of a tile are predicted: all its tissue for the fewest pixels.

A tile's tissue is given in squares of its core. Every rectangle is predicted with its own halo:
one large rectangle shares a halo, several small ones leave glass out. The cheapest way is searched
among those that straight cuts through a whole rectangle give, again and again.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.core.tiling import Box

Rectangles = tuple[tuple[int, int, int, int], ...]
"""First row and column, height and width, in squares."""

CALL_PX = 1 << 16
"""Pixels that a call of the network costs besides those it is given."""


def cheapest_parts(covered: NDArray[np.bool_], *, square_px: int, halo_px: int) -> tuple[Box, ...]:
    """Cut a tile.

    Parameters
    ----------
    covered
        ``(rows, cols)``: squares of the tile that hold tissue.
    square_px
        Side of a square.
    halo_px
        Context that is predicted around every part.

    Returns
    -------
    Disjoint boxes in pixels of the tile's core, corners at squares, that hold every covered square;
    from top to bottom, then from left to right.
    """
    return _cut(covered.tobytes(), covered.shape, square_px, halo_px)


@lru_cache(maxsize=256)
def _cut(cells: bytes, shape: tuple[int, int], square_px: int, halo_px: int) -> tuple[Box, ...]:
    covered = np.frombuffer(cells, np.bool_).reshape(shape)
    if covered.all():
        return (Box(0, 0, shape[1] * square_px, shape[0] * square_px),)
    costs = _Costs(covered, square_px=square_px, halo_px=halo_px)
    found = sorted(costs.cheapest(0, 0, *shape))
    return tuple(
        Box(x * square_px, y * square_px, (x + width) * square_px, (y + height) * square_px)
        for y, x, height, width in found
    )


class _Costs:
    """What every rectangle of a tile costs at least, in pixels."""

    def __init__(self, covered: NDArray[np.bool_], *, square_px: int, halo_px: int) -> None:
        self._square_px, self._halo_px = square_px, halo_px
        self._least: dict[tuple[int, int], NDArray[np.int64]] = {}
        """By height and width in squares; an array's row and column are those of the corner."""
        rows, cols = covered.shape
        sums = np.pad(covered.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        for height in range(1, rows + 1):
            below = sums[height:] - sums[:-height]
            for width in range(1, cols + 1):
                held = below[:, width:] - below[:, :-width]
                least = np.where(held > 0, self._whole(height, width), 0)
                for upper in range(1, height):
                    lower = self._least[height - upper, width][upper:]
                    np.minimum(least, self._least[upper, width][: len(lower)] + lower, out=least)
                for left in range(1, width):
                    right = self._least[height, width - left][:, left:]
                    beside = self._least[height, left][:, : right.shape[1]] + right
                    np.minimum(least, beside, out=least)
                self._least[height, width] = least

    def cheapest(self, y: int, x: int, height: int, width: int) -> Rectangles:
        """Rectangles that hold all tissue of one; each ends at tissue, or less were cheaper."""
        least = self._at(y, x, height, width)
        if least == 0:
            return ()
        if least == self._whole(height, width):
            return ((y, x, height, width),)
        cuts = [((y, x, at, width), (y + at, x, height - at, width)) for at in range(1, height)]
        cuts += [((y, x, height, at), (y, x + at, height, width - at)) for at in range(1, width)]
        one, other = next(cut for cut in cuts if sum(self._at(*part) for part in cut) == least)
        return self.cheapest(*one) + self.cheapest(*other)

    def _whole(self, height: int, width: int) -> int:
        sides = (side * self._square_px + 2 * self._halo_px for side in (height, width))
        return math.prod(sides) + CALL_PX

    def _at(self, y: int, x: int, height: int, width: int) -> int:
        return int(self._least[height, width][y, x])
