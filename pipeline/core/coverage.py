"""What a tissue mask covers: its grown form, the tiles it touches, the points that lie in it."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.core.frame import PlaneFrame
from pipeline.core.tiling import Box, RegionGrid, Tile, TileLattice


def grown(mask: NDArray[np.bool_], *, radius_px: float) -> NDArray[np.bool_]:
    """Every pixel within ``radius_px`` (centre to centre) of a pixel of the mask."""
    if radius_px < 1 or not mask.any():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius_px)


def box_in_mask(box: Box, frame: PlaneFrame, mask: NDArray[np.bool_], over: PlaneFrame) -> Box:
    """The mask's pixels that a box touches, clipped to the mask.

    Parameters
    ----------
    box
        Pixels of ``frame``.
    frame
        The model frame.
    mask
        ``(H, W)`` bool, pixels of ``over``, whose origin is that of ``frame``.
    """
    ratio_x, ratio_y = frame.scale_x / over.scale_x, frame.scale_y / over.scale_y
    height, width = mask.shape
    # a rounding error must not touch one more pixel, nor a plane's last pixels lose the mask
    x0 = min(int(np.floor(box.x0 * ratio_x + 1e-6)), width - 1)
    y0 = min(int(np.floor(box.y0 * ratio_y + 1e-6)), height - 1)
    x1 = min(max(int(np.ceil(box.x1 * ratio_x - 1e-6)), x0 + 1), width)
    y1 = min(max(int(np.ceil(box.y1 * ratio_y - 1e-6)), y0 + 1), height)
    return Box(x0, y0, x1, y1)


def covered_tiles(
    mask: NDArray[np.bool_], over: PlaneFrame, lattice: TileLattice, frame: PlaneFrame
) -> NDArray[np.bool_]:
    """``(rows, cols)`` of the lattice: True where a tile's core touches the mask."""
    down = [
        box_in_mask(lattice.tile(row, 0).core, frame, mask, over) for row in range(lattice.rows)
    ]
    along = [
        box_in_mask(lattice.tile(0, col).core, frame, mask, over) for col in range(lattice.cols)
    ]
    top, bottom = ([getattr(box, name) for box in down] for name in ("y0", "y1"))
    left, right = ([getattr(box, name) for box in along] for name in ("x0", "x1"))
    # how many pixels lie above and left of each pixel: a box's number is four of them
    before = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    before[1:, 1:] = mask.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    beside = before[:, right] - before[:, left]
    return np.asarray(beside[bottom] > beside[top])


def squares_of_tile(
    squares: NDArray[np.bool_], lattice: TileLattice, tile: Tile
) -> NDArray[np.bool_]:
    """The part of ``(rows, cols)`` of the lattice's squares that is one tile; False beyond it."""
    side = lattice.core // lattice.square
    rows, cols = tile.row * side, tile.col * side
    found = np.zeros((side, side), np.bool_)
    part = squares[rows : rows + side, cols : cols + side]
    found[: part.shape[0], : part.shape[1]] = part
    return found


def tiles_with_squares(squares: NDArray[np.bool_], lattice: TileLattice) -> NDArray[np.bool_]:
    """``(rows, cols)`` of the lattice: True where a tile has a square that is True."""
    side = lattice.core // lattice.square
    return _counted(squares, lattice.rows, lattice.cols, side) > 0


def regions_with_squares(squares: NDArray[np.bool_], grid: RegionGrid) -> tuple[int, ...]:
    """Regions with a square that is True, those with most first: a slide ends with short tasks."""
    side = grid.side // grid.lattice.square
    held = _counted(squares, grid.rows, grid.cols, side).ravel()
    order = np.argsort(-held, kind="stable")
    return tuple(order[held[order] > 0].tolist())


def _counted(squares: NDArray[np.bool_], rows: int, cols: int, side: int) -> NDArray[np.int64]:
    """``(rows, cols)``: how many are True of each ``side`` x ``side``."""
    whole = np.zeros((rows * side, cols * side), np.int64)
    whole[: squares.shape[0], : squares.shape[1]] = squares
    return np.asarray(whole.reshape(rows, side, cols, side).sum(axis=(1, 3)))


def points_in_mask(
    x_l0: NDArray[np.float64], y_l0: NDArray[np.float64], mask: NDArray[np.bool_], over: PlaneFrame
) -> NDArray[np.bool_]:
    """True for each level-0 point in a pixel of the mask; points beyond its border take the edge's.

    Parameters
    ----------
    x_l0, y_l0
        float64, level-0 pixels.
    mask
        ``(H, W)`` bool, pixels of ``over``.
    """
    col, row = _pixel_of(x_l0, y_l0, mask.shape, over)
    return np.asarray(mask[row, col])


def pieces_of_points(
    x_l0: NDArray[np.float64],
    y_l0: NDArray[np.float64],
    labels: NDArray[np.int32],
    over: PlaneFrame,
    *,
    margin_px: float,
) -> NDArray[np.int32]:
    """Tell each point's piece of tissue: the one it is in, or the nearest within the margin.

    Parameters
    ----------
    x_l0, y_l0
        float64, level-0 pixels.
    labels
        ``(H, W)`` int32, pixels of ``over``: 0 outside tissue, then 1, 2, ...

    Returns
    -------
    int32, 0 for points near no piece.
    """
    col, row = _pixel_of(x_l0, y_l0, labels.shape, over)
    owner = np.asarray(labels[row, col], np.int32)
    outside = np.flatnonzero(owner == 0)
    rim_row, rim_col = np.nonzero(_rim(labels > 0))
    if len(outside) and len(rim_row):
        rim = cKDTree(np.column_stack([rim_row, rim_col]))
        distance_px, nearest = rim.query(np.column_stack([row[outside], col[outside]]))
        # a point within the margin may lie in a pixel whose own centre is a diagonal further
        near = distance_px <= margin_px + 1.5
        owner[outside[near]] = labels[rim_row[nearest[near]], rim_col[nearest[near]]]
    return owner


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask with a neighbour outside it: one of them is nearest to any place outside."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


def pixels_in_boxes(
    boxes: list[Box], frame: PlaneFrame, mask: NDArray[np.bool_], over: PlaneFrame
) -> NDArray[np.bool_]:
    """The mask's pixels whose centre lies in one of the boxes of ``frame``."""
    ratio_x, ratio_y = over.scale_x / frame.scale_x, over.scale_y / frame.scale_y
    x = (np.arange(mask.shape[1]) + 0.5) * ratio_x
    y = (np.arange(mask.shape[0]) + 0.5) * ratio_y
    inside = np.zeros_like(mask)
    for box in boxes:
        rows = slice(*np.searchsorted(y, (box.y0, box.y1)))
        cols = slice(*np.searchsorted(x, (box.x0, box.x1)))
        inside[rows, cols] = mask[rows, cols]
    return inside


def _pixel_of(
    x_l0: NDArray[np.float64], y_l0: NDArray[np.float64], shape: tuple[int, ...], over: PlaneFrame
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    x, y = over.from_l0(x_l0, y_l0)
    col = np.clip(x, 0, shape[1] - 1).astype(np.int32)
    row = np.clip(y, 0, shape[0] - 1).astype(np.int32)
    return col, row
