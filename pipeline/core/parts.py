"""Which rectangles of a tile are predicted: all its tissue for the fewest pixels.

A tile's tissue is given in squares of its core. Every rectangle is predicted with its own halo:
one large rectangle shares a halo, several small ones leave glass out. The cheapest way is searched
among those that straight cuts through a whole rectangle give, again and again.
"""

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.core.tiling import Box

Rectangles = tuple[tuple[int, int, int, int], ...]

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
    sums = np.pad(covered.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0))).tolist()

    def held(y0: int, x0: int, y1: int, x1: int) -> int:
        return int(sums[y1][x1] - sums[y0][x1] - sums[y1][x0] + sums[y0][x0])

    def trimmed(y0: int, x0: int, y1: int, x1: int) -> tuple[int, int, int, int]:
        while not held(y0, x0, y0 + 1, x1):
            y0 += 1
        while not held(y1 - 1, x0, y1, x1):
            y1 -= 1
        while not held(y0, x0, y1, x0 + 1):
            x0 += 1
        while not held(y0, x1 - 1, y1, x1):
            x1 -= 1
        return y0, x0, y1, x1

    @cache
    def best(y0: int, x0: int, y1: int, x1: int) -> tuple[int, Rectangles]:
        """Pixels and rectangles of a trimmed rectangle."""
        sides = (y1 - y0) * square_px + 2 * halo_px, (x1 - x0) * square_px + 2 * halo_px
        found: tuple[int, Rectangles] = sides[0] * sides[1] + CALL_PX, ((y0, x0, y1, x1),)
        if held(y0, x0, y1, x1) == (y1 - y0) * (x1 - x0):
            return found
        cuts = [((y0, x0, y, x1), (y, x0, y1, x1)) for y in range(y0 + 1, y1)]
        cuts += [((y0, x0, y1, x), (y0, x, y1, x1)) for x in range(x0 + 1, x1)]
        for one, other in cuts:
            # a trimmed rectangle has tissue at its edges, so neither side is empty
            (cost, rectangles), (more, others) = best(*trimmed(*one)), best(*trimmed(*other))
            if cost + more < found[0]:
                found = cost + more, rectangles + others
        return found

    if not covered.any():
        return ()
    rectangles = best(*trimmed(0, 0, *shape))[1]
    boxes = [[side * square_px for side in rectangle] for rectangle in sorted(rectangles)]
    return tuple(Box(x0, y0, x1, y1) for y0, x0, y1, x1 in boxes)
