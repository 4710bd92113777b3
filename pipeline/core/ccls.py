"""Cell centre localization strategy (CCLS): from a heatmap to cell centres.

A pixel is a peak iff it is the maximum over all channels within a square window. Connected pixels
of one peak value (ties) are one cell; the label is the higher channel. The rule is local and the
threshold absolute, so a map cut into regions gives the cells of the whole map (``core.seams``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.core.blocks import block_maxima, window_maxima
from pipeline.core.points import NEGATIVE, POSITIVE

_AT_ONCE = 256
"""Peaks whose windows are looked at together: they stay in the processor's cache."""
_MOST_SHARE = 12
"""One block in so many may hold a peak, and as many pixels, before the whole map is filtered."""


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Peak pixels of one plane.

    Attributes
    ----------
    x_px, y_px
        float64 model-frame coordinates, pixel centres at +0.5, refined to sub-pixel.
    col, row
        int32 plane-wide pixel of the peak.
    score
        float32 value at the peak.
    label
        uint8, 1 positive, 0 negative.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    col: NDArray[np.int32]
    row: NDArray[np.int32]
    score: NDArray[np.float32]
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.col)

    def take(self, rows: NDArray[Any]) -> "Peaks":
        """Take the rows named by an index array or a boolean mask."""
        return Peaks(
            self.x_px[rows],
            self.y_px[rows],
            self.col[rows],
            self.row[rows],
            self.score[rows],
            self.label[rows],
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Peaks"]) -> "Peaks":
        """All rows of ``parts`` in their order."""
        names = ("x_px", "y_px", "col", "row", "score", "label")
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def empty(cls) -> "Peaks":
        """No peaks."""
        return cls(
            np.empty(0),
            np.empty(0),
            np.empty(0, np.int32),
            np.empty(0, np.int32),
            np.empty(0, np.float32),
            np.empty(0, np.uint8),
        )


def find_peaks(
    heatmap: NDArray[np.float32], *, window: int, floor: float, x0: int = 0, y0: int = 0
) -> Peaks:
    """Every peak pixel of a map whose value reaches ``floor``; ties are still apart.

    Parameters
    ----------
    heatmap
        ``(C, H, W)`` float32, C = 2 (positive, negative) or 1 (unified: all labels 0).
    window
        Odd side of the square neighbourhood in pixels.
    floor
        Absolute, above 0; relative thresholds would make cells depend on the tile.
    x0, y0
        Plane coordinates of the map's first pixel.

    Raises
    ------
    ValueError
        When the window is even (its centre is no pixel) or the floor not above 0 (glass would be
        one plateau of peaks).

    References
    ----------
    Li et al., Exponential distance transform maps for cell localization, EAAI 2024, Algorithm 1
    read as "maximum-filtered map equals map".
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window={window} must be odd")
    if not floor > 0:
        raise ValueError(f"floor={floor} must be above 0")
    row, col = _peak_pixels(heatmap, window, floor)
    dx, dy = _subpixel(heatmap, row, col)
    if len(heatmap) == 1:
        label = np.full(len(row), NEGATIVE, np.uint8)
    else:
        higher = heatmap[:, row, col].argmax(axis=0)
        label = np.where(higher == 0, POSITIVE, NEGATIVE).astype(np.uint8)
    return Peaks(
        x0 + col + 0.5 + dx,
        y0 + row + 0.5 + dy,
        (x0 + col).astype(np.int32),
        (y0 + row).astype(np.int32),
        heatmap[:, row, col].max(axis=0, initial=-np.inf),
        label,
    )


def merge_ties(peaks: Peaks) -> Peaks:
    """One peak per group of 8-connected peak pixels, at the group's mean position.

    Rows come back ordered by (row, col) of each group's first pixel.
    """
    if len(peaks) == 0:
        return peaks
    peaks = peaks.take(np.lexsort((peaks.col, peaks.row)))
    pixels = np.column_stack([peaks.col, peaks.row]).astype(np.float64)
    pairs = cKDTree(pixels).query_pairs(1.5, p=2, output_type="ndarray")
    if len(pairs) == 0:
        return peaks
    count = len(peaks)
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    groups, group_of = connected_components(links, directed=False)
    first = np.unique(group_of, return_index=True)[1]
    size = np.bincount(group_of, minlength=groups)
    # a lone peak keeps its refined place; a plateau has none, so its pixel centres are averaged
    x_px = np.bincount(group_of, weights=peaks.col + 0.5, minlength=groups) / size
    y_px = np.bincount(group_of, weights=peaks.row + 0.5, minlength=groups) / size
    x_px = np.where(size == 1, peaks.x_px[first], x_px)
    y_px = np.where(size == 1, peaks.y_px[first], y_px)
    merged = Peaks(
        x_px, y_px, peaks.col[first], peaks.row[first], peaks.score[first], peaks.label[first]
    )
    return merged.take(np.argsort(first))


def localize(heatmap: NDArray[np.float32], *, window: int, threshold: float) -> Peaks:
    """Find the cell centres of one whole map (the oracle of every faster or tiled form).

    See ``find_peaks`` for the parameters.
    """
    return merge_ties(find_peaks(heatmap, window=window, floor=threshold))


def _peak_pixels(
    heatmap: NDArray[np.float32], window: int, floor: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the peaks, row by row.

    A peak is the highest of every block that lies in its window whole, its own and those around it
    where blocks are a quarter as wide. So few pixels are left to be compared with their window.
    """
    reach = (window - 1) // 2
    side = (reach + 1) // 2
    if side < 2:
        return _dense_peak_pixels(heatmap, window, floor)
    tops = block_maxima(heatmap, side).max(axis=0)
    around = window_maxima(tops, 3)
    blocks = np.nonzero((tops == around) & (tops >= floor))
    height, width = heatmap.shape[1:]
    # plateaus and noise leave so many that filtering the whole map is quicker
    if len(blocks[0]) > tops.size // _MOST_SHARE:
        return _dense_peak_pixels(heatmap, window, floor)
    top, left = (start * side for start in blocks)
    values = _windows(heatmap, top, left, (side, side))
    # of a block that leaves the map the border's pixels would come twice
    inside = (top[:, None] + np.arange(side) < height)[:, :, None]
    inside = inside & (left[:, None] + np.arange(side) < width)[:, None, :]
    found, dy, dx = np.nonzero(inside & (values == tops[blocks][:, None, None]))
    row, col = top[found] + dy, left[found] + dx
    if len(row) > height * width // _MOST_SHARE:
        return _dense_peak_pixels(heatmap, window, floor)
    is_peak = np.zeros(len(row), np.bool_)
    for start in range(0, len(row), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        windows = _windows(heatmap, row[some] - reach, col[some] - reach, (window, window))
        flat = windows.reshape(len(windows), -1)
        is_peak[some] = flat.max(axis=1) == flat[:, flat.shape[1] // 2]
    row, col = row[is_peak], col[is_peak]
    order = np.lexsort((col, row))
    return row[order], col[order]


def _windows(
    heatmap: NDArray[np.float32],
    top: NDArray[np.intp],
    left: NDArray[np.intp],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """``(N, *shape)``: the higher channel in windows that begin at these rows and columns.

    Beyond the map the pixel at its border stands, which every window that leaves the map holds.
    """
    bottom, right = top + shape[0], left + shape[1]
    within = (top >= 0) & (left >= 0) & (bottom <= heatmap.shape[1]) & (right <= heatmap.shape[2])
    found = np.empty((len(top), *shape), np.float32)
    if within.any():
        # row by row; pixel by pixel takes three times as long
        windows = sliding_window_view(heatmap, shape, axis=(1, 2))
        found[within] = _higher(windows, top[within], left[within])
    if not within.all():
        row, col = (
            np.clip(start[~within, None] + np.arange(side), 0, most - 1)
            for start, side, most in zip((top, left), shape, heatmap.shape[1:], strict=True)
        )
        found[~within] = _higher(heatmap, row[:, :, None], col[:, None, :])
    return found


def _higher(
    channels: NDArray[np.float32], row: NDArray[np.intp], col: NDArray[np.intp]
) -> NDArray[np.float32]:
    highest: NDArray[np.float32] = channels[0][row, col]
    for channel in channels[1:]:
        np.maximum(highest, channel[row, col], out=highest)
    return highest


def _dense_peak_pixels(
    heatmap: NDArray[np.float32], window: int, floor: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    union = heatmap[0] if len(heatmap) == 1 else heatmap.max(axis=0)
    highest = window_maxima(union, window)
    row, col = np.nonzero((union == highest) & (union >= floor))
    return row, col


def _subpixel(
    heatmap: NDArray[np.float32], row: NDArray[np.intp], col: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offset of a parabola's top through the peak and its two neighbours, per axis, within 0.5."""
    across = _windows(heatmap, row, col - 1, (1, 3))[:, 0].astype(np.float64)
    along = _windows(heatmap, row - 1, col, (3, 1))[:, :, 0].astype(np.float64)
    return parabola_top(*across.T), parabola_top(*along.T)


def parabola_top(
    before: NDArray[np.float64], centre: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Offset from the centre of the top of a parabola through three values, within 0.5 pixels.

    0 where they have no top: a plateau, or a valley.
    """
    bend = before - 2 * centre + after
    with np.errstate(divide="ignore", invalid="ignore"):
        top = np.where(bend < 0, 0.5 * (before - after) / bend, 0.0)
    return np.clip(top, -0.5, 0.5)
