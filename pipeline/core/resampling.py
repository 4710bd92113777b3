"""From level pixels to model-frame pixels, with one phase for the whole slide.

Output pixel ``i`` of an axis covers source pixels ``[origin + i*scale, origin + (i+1)*scale)``.
Its taps are computed from ``i`` alone and summed in one order, element by element (no matrix
product, whose order of summation depends on the shape), so two overlapping requests give the same
pixels bit for bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL_TOLERANCE = 1.02
"""A level may be coarser than the wanted scale by this factor: scanners round downsamples."""

_SNAP_PX = 1e-6
"""Intervals ending this near a source pixel's border end on it: float noise adds no tap."""
_ROUND_UP = np.float32(0.5 + 2**-12)
"""Rounding half up; float32 sums may stand this little under an exact half."""
_BLOCK_ROWS = 16
"""Output rows made at once: their float32 sums stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisTaps:
    """Which source pixels make each output pixel of one axis, and with what weight.

    Attributes
    ----------
    first, count
        The contiguous source pixels ``[first, first + count)`` that must be read.
    index
        ``(N, K)`` source pixels, relative to ``first``; unused taps have weight 0.
    weight
        ``(N, K)`` float32, rows sum to 1.
    factor
        Source pixels per output pixel where that is whole on the whole axis, else 0.
    """

    first: int
    count: int
    index: NDArray[np.intp]
    weight: NDArray[np.float32]
    factor: int = 0


def choose_level(
    level_scales: Sequence[tuple[float, float]], scale_x: float, scale_y: float
) -> int:
    """Find the coarsest level that is not coarser than the wanted scale in either axis, else 0.

    Parameters
    ----------
    level_scales
        (x, y) level-0 pixels per level pixel of each level.
    scale_x, scale_y
        Level-0 pixels per wanted pixel.
    """
    fine = [
        level
        for level, (x, y) in enumerate(level_scales)
        if x <= scale_x * LEVEL_TOLERANCE and y <= scale_y * LEVEL_TOLERANCE
    ]
    return max(fine, key=lambda level: level_scales[level][0] * level_scales[level][1], default=0)


def axis_taps(start: int, length: int, *, origin: float, scale: float) -> AxisTaps:
    """Taps of the output pixels ``[start, start + length)`` of one axis.

    Parameters
    ----------
    origin
        Source coordinate (continuous) at which output pixel 0 begins.
    scale
        Source pixels per output pixel. From 1 / 1.02 up the covered area is averaged; below,
        pixels are interpolated linearly between source pixel centres.

    Raises
    ------
    ValueError
        When ``length`` or ``scale`` is not positive.
    """
    if length < 1 or not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"length={length} and scale={scale} must be positive")
    # the plain index keeps weights a function of the output pixel, not of the request
    number = np.arange(start, start + length + 1, dtype=np.float64)
    if scale >= 1 / LEVEL_TOLERANCE - 1e-9:
        index, weight = _area_taps(_snapped(origin + number * scale))
    else:
        index, weight = _linear_taps(_snapped(origin + (number[:-1] + 0.5) * scale - 0.5))
    used = weight > 0
    first = int(index[used].min())
    count = int(index[used].max()) - first + 1
    relative = np.clip(index - first, 0, count - 1).astype(np.intp)
    return AxisTaps(first, count, relative, weight.astype(np.float32), _factor(origin, scale))


def resample(source: NDArray[np.uint8], taps_y: AxisTaps, taps_x: AxisTaps) -> NDArray[np.uint8]:
    """Make output pixels from source pixels, rounding half up.

    Parameters
    ----------
    source
        ``(taps_y.count, taps_x.count, 3)`` uint8, the pixels the taps ask for.

    Returns
    -------
    ``(len(taps_y.index), len(taps_x.index), 3)`` uint8.

    Raises
    ------
    ValueError
        When ``source`` is not what the taps ask for.
    """
    wanted = (taps_y.count, taps_x.count, 3)
    if source.shape != wanted or source.dtype != np.uint8:
        raise ValueError(f"source is {source.dtype} {source.shape}; the taps need uint8 {wanted}")
    if taps_y.factor and taps_x.factor:
        return _mean_of_blocks(source, taps_y.factor, taps_x.factor)
    made = np.empty((len(taps_y.index), len(taps_x.index), 3), np.uint8)
    for y0 in range(0, len(made), _BLOCK_ROWS):
        rows = slice(y0, y0 + _BLOCK_ROWS)
        tall = _weigh_rows(source, taps_y.index[rows], taps_y.weight[rows])
        made[rows] = _weigh_columns(tall, taps_x) + _ROUND_UP
    return made


def _snapped(position: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = np.round(position)
    return np.where(np.abs(position - whole) < _SNAP_PX, whole, position)


def _factor(origin: float, scale: float) -> int:
    whole = round(scale)
    return whole if whole >= 1 and scale == whole and origin == round(origin) else 0


def _area_taps(
    edges: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Share of each source pixel in the intervals between successive edges."""
    low, high = edges[:-1, None], edges[1:, None]
    begin = np.floor(low).astype(np.int64)
    taps = int((np.ceil(high).astype(np.int64) - begin).max())
    index = begin + np.arange(taps)
    covered = np.clip(np.minimum(index + 1, high) - np.maximum(index, low), 0.0, None)
    return index, covered / (high - low)


def _linear_taps(
    centre: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the two source pixels around each position (0 = centre of source pixel 0)."""
    left = np.floor(centre).astype(np.int64)
    share = centre - left
    return np.column_stack([left, left + 1]), np.column_stack([1.0 - share, share])


def _weigh_rows(
    source: NDArray[np.uint8], index: NDArray[np.intp], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    total = np.multiply(source[index[:, 0]], weight[:, 0, None, None], dtype=np.float32)
    part = np.empty_like(total)
    for tap in range(1, index.shape[1]):
        np.multiply(source[index[:, tap]], weight[:, tap, None, None], out=part, dtype=np.float32)
        total += part
    return total


def _weigh_columns(rows: NDArray[np.float32], taps: AxisTaps) -> NDArray[np.float32]:
    weight = taps.weight[:, :, None]
    total = rows.take(taps.index[:, 0], axis=1)
    total *= weight[:, 0]
    for tap in range(1, taps.index.shape[1]):
        part = rows.take(taps.index[:, tap], axis=1)
        part *= weight[:, tap]
        total += part
    return total


def _mean_of_blocks(source: NDArray[np.uint8], factor_y: int, factor_x: int) -> NDArray[np.uint8]:
    """Mean of whole blocks in integers: exact, and the fast way for the usual 2 x 2."""
    if factor_y == factor_x == 1:
        return source.copy()
    area = factor_y * factor_x
    kind = np.dtype(np.uint16 if 255 * area + area // 2 < 2**16 else np.uint32)
    made = np.empty((source.shape[0] // factor_y, source.shape[1] // factor_x, 3), np.uint8)
    for y0 in range(0, len(made), _BLOCK_ROWS):
        block = source[y0 * factor_y : (y0 + _BLOCK_ROWS) * factor_y]
        tall: NDArray[np.unsignedinteger] = block[::factor_y].astype(kind)
        for step in range(1, factor_y):
            tall += block[step::factor_y]
        total = tall[:, ::factor_x] + kind.type(area // 2)
        for step in range(1, factor_x):
            total += tall[:, step::factor_x]
        made[y0 : y0 + _BLOCK_ROWS] = total // kind.type(area)
    return made
