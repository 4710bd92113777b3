"""Crops at the network's resolution with every cell ringed: what makes a count believable."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.core.tiling import Box
from pipeline.io.pictures import NEGATIVE_RGB, POSITIVE_RGB, Rgb, draw_bar, save_picture

CROP_PX = 512


def choose_crops(
    points: CellPoints, frame: PlaneFrame, *, seed: int, side_px: int = CROP_PX, each: int = 3
) -> list[tuple[str, Box]]:
    """Choose places to look at: the densest ones and random cells, none overlapping another.

    Parameters
    ----------
    points
        Cells in level-0 pixels.
    frame
        Of the model plane; the boxes are pixels of it and lie in it where it is large enough.
    seed
        Of the random ones: the same seed gives the same places.
    side_px
        Of a crop.
    each
        How many of either sort, at most.

    Returns
    -------
    File stems (``dense_1``, ``random_1``, ...) and boxes.
    """
    x, y = frame.from_l0(points.x_l0, points.y_l0)
    order = np.random.default_rng(seed).permutation(len(points))
    # one at a time: a list of all would take more memory than the cells themselves
    random = ((float(x[row]), float(y[row])) for row in order)
    sorts = (("dense", iter(_dense_centres(x, y, side_px))), ("random", random))
    chosen: list[tuple[str, Box]] = []
    for sort, centres in sorts:
        count = 0
        for centre_x, centre_y in centres:
            box = _box_around(centre_x, centre_y, side_px, frame)
            if count < each and not any(_overlap(box, other) for _, other in chosen):
                count += 1
                chosen.append((f"{sort}_{count}", box))
            if count == each:
                break
    return chosen


def write_crop(
    path: Path, rgb: Rgb, box: Box, frame: PlaneFrame, points: CellPoints, *, mpp_um: float
) -> None:
    """Write one crop with a ring around every cell, vermilion positive, blue negative.

    Parameters
    ----------
    path
        Of the JPEG.
    rgb
        Pixels of ``box``, uint8 ``(height, width, 3)``.
    box
        Place in the model plane.
    frame
        Of the model plane.
    points
        Cells in level-0 pixels; those outside the box are left out.
    mpp_um
        Micrometres per pixel of the model plane.

    Raises
    ------
    ValueError
        The pixels are not those of the box.
    OutputError
        The folder cannot be written.
    """
    if rgb.shape != (box.height, box.width, 3):
        raise ValueError(f"crop {rgb.shape} is not the {box.height} x {box.width} of its box")
    x, y = frame.from_l0(points.x_l0, points.y_l0)
    inside = (x >= box.x0) & (x < box.x1) & (y >= box.y0) & (y < box.y1)
    # drawn at twice the size and reduced: smooth rings
    picture = Image.fromarray(rgb).resize((2 * box.width, 2 * box.height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    radius = max(6.0, 2 * 4.0 / mpp_um)
    rows = zip(x[inside] - box.x0, y[inside] - box.y0, points.label[inside], strict=True)
    for centre_x, centre_y, label in rows:
        colour = POSITIVE_RGB if label == POSITIVE else NEGATIVE_RGB
        place = 2 * centre_x, 2 * centre_y
        draw.circle(place, radius + 3, outline=(255, 255, 255), width=11)
        draw.circle(place, radius, outline=colour, width=6)
    picture = picture.resize((box.width, box.height), Image.Resampling.LANCZOS)
    bar = max(8, round(50.0 / mpp_um))
    draw_bar(ImageDraw.Draw(picture), box.width - bar - 12, box.height - 14, bar, "50 um")
    save_picture(path, picture, quality=90)


def _dense_centres(
    x: NDArray[np.float64], y: NDArray[np.float64], side_px: int
) -> list[tuple[float, float]]:
    """Middles of squares of the crop's size, most cells first, half a side apart."""
    if not len(x):
        return []
    half = side_px / 2
    col, row = (x // half).astype(np.int64), (y // half).astype(np.int64)
    counts = np.zeros((row.max() + 2, col.max() + 2), np.int64)
    np.add.at(counts, (row, col), 1)
    squares = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    order = np.argsort(-squares, axis=None, kind="stable")
    rows, cols = np.unravel_index(order[: np.count_nonzero(squares)], squares.shape)
    return [((c + 1) * half, (r + 1) * half) for r, c in zip(rows, cols, strict=True)]


def _box_around(x_px: float, y_px: float, side_px: int, frame: PlaneFrame) -> Box:
    x0 = min(max(round(x_px - side_px / 2), 0), max(0, frame.width - side_px))
    y0 = min(max(round(y_px - side_px / 2), 0), max(0, frame.height - side_px))
    return Box(x0, y0, x0 + side_px, y0 + side_px)


def _overlap(left: Box, right: Box) -> bool:
    return (left.x0 < right.x1 and right.x0 < left.x1) and (
        left.y0 < right.y1 and right.y0 < left.y1
    )
