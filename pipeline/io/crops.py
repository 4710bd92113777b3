"""Crops at the network's resolution with the cells beside them: what makes a count believable.

Pixels and cells are kept apart, so that a reader can look at the nuclei first and at the marks
after, in colours of choice, and so that a slide scored again without its pixels shows new marks.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import LABEL_NAMES, CellPoints
from pipeline.core.tiling import Box
from pipeline.errors import OutputError, UnreadableSlideError
from pipeline.io.files import short_name, write_json_atomic
from pipeline.io.pictures import Rgb, save_picture

CROPS_NAME = "crops"
INDEX_NAME = "crops.json"
CROP_PX = 512
CLOSE_PX = 256
"""Around single cells: half a large crop, so that each nucleus is seen well."""


@dataclass(frozen=True, slots=True)
class CropSort:
    """One sort of places to look at: how many at most and how large."""

    name: str
    most: int
    side_px: int


CROP_SORTS = (
    CropSort("hotspot", 3, CROP_PX),
    CropSort("dense", 3, CROP_PX),
    CropSort("random", 6, CLOSE_PX),
    CropSort("uncertain", 6, CLOSE_PX),
)
"""Hotspots in their rank; the densest places; cells by lot; cells that just reached the threshold.

The random ones are the only fair sample: the others are chosen because they are special.
"""


def choose_crops(
    points: CellPoints,
    frame: PlaneFrame,
    *,
    seed: int,
    hotspots_l0: Sequence[tuple[float, float]] = (),
    sorts: Sequence[CropSort] = CROP_SORTS,
) -> list[tuple[str, Box]]:
    """Choose places to look at, none overlapping another.

    Parameters
    ----------
    points
        Cells in level-0 pixels.
    frame
        Of the model plane; the boxes are pixels of it and lie in it where it is large enough.
    seed
        Of the random ones: the same seed gives the same places.
    hotspots_l0
        Centres ``(x, y)`` in level-0 pixels, hottest first.
    sorts
        What to choose, in this order.

    Returns
    -------
    File stems (``hotspot_1``, ``dense_1``, ``random_1``, ...) and boxes.
    """
    x, y = frame.from_l0(points.x_l0, points.y_l0)
    chosen: list[tuple[str, Box]] = []
    for sort in sorts:
        count = 0
        for centre_x, centre_y in _centres(sort, x, y, points, frame, seed, hotspots_l0):
            if count == sort.most:
                break
            box = _box_around(centre_x, centre_y, sort.side_px, frame)
            if not any(_overlap(box, other) for _, other in chosen):
                count += 1
                chosen.append((f"{sort.name}_{count}", box))
    return chosen


def write_crops(
    folder: Path,
    read: Callable[[Box], Rgb],
    chosen: Iterable[tuple[str, Box]],
    *,
    frame: PlaneFrame,
    points: CellPoints,
    mpp_um: float,
) -> None:
    """Write one JPEG a place, then ``crops.json``: where each lies and which cells are in it.

    A place that cannot be read is left out.

    Parameters
    ----------
    folder
        Of the crops.
    read
        Pixels of a box of the model plane, uint8 ``(height, width, 3)``.
    chosen
        File stems and boxes.
    frame
        Of the model plane.
    points
        Cells in level-0 pixels.
    mpp_um
        Micrometres per pixel of the model plane.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    crops = []
    for name, box in chosen:
        with suppress(UnreadableSlideError):
            save_picture(folder / f"{name}.jpg", Image.fromarray(read(box)), quality=90)
            crops.append(_crop(name, box, frame))
    if crops:
        _write_index(folder, crops, points, mpp_um)


def renew_crops(folder: Path, points: CellPoints) -> None:
    """Put other cells beside the same crops: the slide was scored again without its pixels.

    Raises
    ------
    OutputError
        ``crops.json`` is damaged or the folder cannot be written.
    """
    if not (folder / INDEX_NAME).exists():
        return
    index = read_crops(folder)
    _write_index(folder, index["crops"], points, index["mpp_um"])


def read_crops(folder: Path) -> dict[str, Any]:
    """Read ``crops.json`` of a folder of crops.

    Raises
    ------
    OutputError
        It is missing or damaged.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX_NAME).read_bytes())
        sound = index["schema"] == 1 and index["mpp_um"] > 0
        for crop in index["crops"]:
            sound = sound and min(crop["width_px"], crop["height_px"]) > 0
            sound = sound and isinstance(crop["file"], str) and Path(crop["file"]).name
            sound = sound and all(len(cell) == 4 for cell in crop["cells"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise OutputError(
            f"{short_name(folder)}/{INDEX_NAME}: missing or damaged; run the same `ki67 run` again"
        ) from error
    if not sound:
        raise OutputError(f"{short_name(folder)}/{INDEX_NAME}: not of schema 1; run it again")
    return index


def _write_index(
    folder: Path, crops: Sequence[dict[str, Any]], points: CellPoints, mpp_um: float
) -> None:
    value = {
        "schema": 1,
        "mpp_um": mpp_um,
        "cell": ["x_px", "y_px", "label", "score"],
        "crops": [{**crop, "cells": _cells_in(crop, points)} for crop in crops],
    }
    write_json_atomic(folder / INDEX_NAME, value)


def _crop(name: str, box: Box, frame: PlaneFrame) -> dict[str, Any]:
    (x0, x1), (y0, y1) = frame.to_l0(
        np.array([box.x0, box.x1], float), np.array([box.y0, box.y1], float)
    )
    return {
        "name": name,
        "kind": name.rpartition("_")[0],
        "file": f"{name}.jpg",
        "x_l0": float(x0),
        "y_l0": float(y0),
        "width_l0": float(x1 - x0),
        "height_l0": float(y1 - y0),
        "width_px": box.width,
        "height_px": box.height,
    }


def _cells_in(crop: dict[str, Any], points: CellPoints) -> list[list[Any]]:
    """Cells of a crop: pixels of the crop (centres at +0.5), label as a word, score."""
    x = (points.x_l0 - crop["x_l0"]) * (crop["width_px"] / crop["width_l0"])
    y = (points.y_l0 - crop["y_l0"]) * (crop["height_px"] / crop["height_l0"])
    inside = (x >= 0) & (x < crop["width_px"]) & (y >= 0) & (y < crop["height_px"])
    rows = zip(x[inside], y[inside], points.label[inside], points.score[inside], strict=True)
    return [
        [round(float(cx), 1), round(float(cy), 1), LABEL_NAMES[label], round(float(score), 3)]
        for cx, cy, label, score in rows
    ]


def _centres(
    sort: CropSort,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    points: CellPoints,
    frame: PlaneFrame,
    seed: int,
    hotspots_l0: Sequence[tuple[float, float]],
) -> Iterator[tuple[float, float]]:
    """Middles of the places of a sort, best first, in pixels of the model plane."""
    if sort.name == "hotspot":
        for x_l0, y_l0 in hotspots_l0:
            at_x, at_y = frame.from_l0(np.array([x_l0]), np.array([y_l0]))
            yield float(at_x[0]), float(at_y[0])
    elif sort.name == "dense":
        yield from _dense_centres(x, y, sort.side_px)
    else:
        order = np.random.default_rng(seed).permutation(len(points))
        if sort.name == "uncertain":  # equal scores in random order, else all lie in one corner
            order = order[np.argsort(points.score[order], kind="stable")]
        # one at a time: a list of all would take more memory than the cells themselves
        for row in order:
            yield float(x[row]), float(y[row])


def _dense_centres(
    x: NDArray[np.float64], y: NDArray[np.float64], side_px: int
) -> Iterator[tuple[float, float]]:
    """Middles of squares of the crop's size, most cells first, half a side apart."""
    if not len(x):
        return
    half = side_px / 2
    col, row = (x // half).astype(np.int64), (y // half).astype(np.int64)
    counts = np.zeros((row.max() + 2, col.max() + 2), np.int64)
    np.add.at(counts, (row, col), 1)
    squares = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    order = np.argsort(-squares, axis=None, kind="stable")
    rows, cols = np.unravel_index(order[: np.count_nonzero(squares)], squares.shape)
    for r, c in zip(rows, cols, strict=True):
        yield (c + 1) * half, (r + 1) * half


def _box_around(x_px: float, y_px: float, side_px: int, frame: PlaneFrame) -> Box:
    x0 = min(max(round(x_px - side_px / 2), 0), max(0, frame.width - side_px))
    y0 = min(max(round(y_px - side_px / 2), 0), max(0, frame.height - side_px))
    return Box(x0, y0, x0 + side_px, y0 + side_px)


def _overlap(left: Box, right: Box) -> bool:
    return (left.x0 < right.x1 and right.x0 < left.x1) and (
        left.y0 < right.y1 and right.y0 < left.y1
    )
