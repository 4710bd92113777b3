"""The plane of model-frame pixels over a slide, and its overview: levels in, one phase out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.core.frame import PlaneFrame
from pipeline.core.resampling import AxisTaps, axis_taps, choose_level, resample
from pipeline.core.tiling import Box
from pipeline.errors import UnreadableSlideError
from pipeline.io.reading import WHITE
from pipeline.io.resolution import Resolution
from pipeline.io.slides import SlideReader

MOST_ERROR_PX = 0.05
"""Output pixels by which an inexact level may stand off before a finer level is read instead."""

MOST_OVERVIEW_PX = 1 << 27
"""92 mm a side at 8 um per pixel; a glass of double width is 76 x 52 mm."""

_PIECE_PX = 2048
"""Source pixels a side read at once for an overview."""
_SMALLEST_PX = 16
"""Overview pixels a side below which an unreadable piece is not halved any further."""
_MOST_FAILURES = 256
"""Failed reads after which an overview stops looking for readable remains."""


def level_for(reader: SlideReader, frame: PlaneFrame) -> int:
    """Choose the level to read a frame from: the coarsest that is fine and exact enough."""
    exact = [
        level
        for level, error_l0 in enumerate(reader.level_error_l0)
        if error_l0 <= MOST_ERROR_PX * min(frame.scale_x, frame.scale_y)
    ]
    scales = [reader.level_scales[level] for level in exact]
    return exact[choose_level(scales, frame.scale_x, frame.scale_y)]


def plane_over(reader: SlideReader, resolution: Resolution, mpp_um: float) -> PlaneFrame:
    """Lay the frame of ``mpp_um`` micrometres per pixel over a slide's bounds."""
    bounds = reader.bounds
    return PlaneFrame.over(
        bounds.x0, bounds.y0, bounds.width, bounds.height, resolution.mpp, mpp_um
    )


@dataclass(frozen=True, slots=True)
class SlidePlane:
    """A slide seen as one plane of model-frame pixels.

    A pixel of the plane is the same whatever box asks for it.
    """

    reader: SlideReader
    frame: PlaneFrame
    level: int = field(init=False)
    """Level that pixels are read from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", level_for(self.reader, self.frame))

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read ``(box.height, box.width, 3)`` uint8 RGB; white outside the plane.

        Raises
        ------
        UnreadableSlideError
            Some of it is damaged; a later read of a good place succeeds.
        """
        pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)
        x0, y0 = max(box.x0, 0), max(box.y0, 0)
        x1, y1 = min(box.x1, self.frame.width), min(box.y1, self.frame.height)
        if x1 <= x0 or y1 <= y0:
            return pixels
        taps_x, taps_y = _taps(self.reader, self.frame, self.level, Box(x0, y0, x1, y1))
        source = self.reader.read(
            self.level, taps_x.first, taps_y.first, taps_x.count, taps_y.count
        )
        made = resample(source, taps_y, taps_x)
        if made.shape == pixels.shape:
            return made
        pixels[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = made
        return pixels

    def read_or_white(self, box: Box, pieces: Sequence[Box]) -> tuple[NDArray[np.uint8], list[Box]]:
        """Read a box; where it is damaged read its pieces one by one, white where that fails.

        Parameters
        ----------
        pieces
            Boxes of the plane that cover ``box``, such as the tiles of a region. What no
            readable piece covers is white.

        Returns
        -------
        pixels
            ``(box.height, box.width, 3)`` uint8 RGB.
        unreadable
            The pieces that could not be read.
        """
        try:
            return self.read(box), []
        except UnreadableSlideError:
            pass
        pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)
        unreadable = []
        for piece in pieces:
            part = _overlap(box, piece)
            if part is None:
                continue
            try:
                read = self.read(part)
            except UnreadableSlideError:
                unreadable.append(piece)
                continue
            y0, x0 = part.y0 - box.y0, part.x0 - box.x0
            pixels[y0 : y0 + part.height, x0 : x0 + part.width] = read
        return pixels, unreadable


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """The whole slide, small.

    Attributes
    ----------
    rgb
        ``(H, W, 3)`` uint8.
    frame
        Place of its pixels on level 0.
    absent
        ``(H, W)`` bool: no pixel is stored under the centre of this one.
    unreadable
        Boxes of overview pixels that are damaged at every level: white and absent.
    """

    rgb: NDArray[np.uint8]
    frame: PlaneFrame
    absent: NDArray[np.bool_]
    unreadable: tuple[Box, ...]


def read_overview(reader: SlideReader, resolution: Resolution, *, mpp_um: float = 8.0) -> Overview:
    """Read the whole slide at a coarse resolution, piece by piece.

    A piece that is damaged on its level is looked for in parts and on finer levels: one spoiled
    tile of the smallest level hides a large area whose full-resolution pixels are whole.

    Raises
    ------
    UnreadableSlideError
        The slide says it is larger than an overview may be.
    """
    frame = plane_over(reader, resolution, mpp_um)
    if frame.width * frame.height > MOST_OVERVIEW_PX:
        width_mm, height_mm = frame.width * mpp_um / 1e3, frame.height * mpp_um / 1e3
        raise UnreadableSlideError(
            f"{reader.name}: {width_mm:.0f} x {height_mm:.0f} mm is too large for an overview of "
            f"{mpp_um:g} um per pixel; if the micrometres per pixel are wrong pass --mpp, else "
            "raise tissue.mpp"
        )
    level = level_for(reader, frame)
    rgb = np.full((frame.height, frame.width, 3), WHITE, np.uint8)
    absent = np.ones((frame.height, frame.width), np.bool_)
    scale_x, scale_y = reader.level_scales[level]
    step_x = max(1, int(_PIECE_PX * scale_x / frame.scale_x))
    step_y = max(1, int(_PIECE_PX * scale_y / frame.scale_y))
    pending = list(_pieces(Box(0, 0, frame.width, frame.height), step_x, step_y))
    todo = [(piece, level) for piece in reversed(pending)]
    unreadable: list[Box] = []
    failures = 0
    while todo:
        box, at = todo.pop()
        part = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        try:
            rgb[part], absent[part] = _coarse(reader, frame, at, box)
        except UnreadableSlideError:
            failures += 1
            smaller = _next_try(box, at) if failures < _MOST_FAILURES else []
            todo.extend(reversed(smaller))
            if not smaller:
                unreadable.append(box)
    return Overview(rgb, frame, absent, tuple(unreadable))


def _next_try(box: Box, level: int) -> list[tuple[Box, int]]:
    """Quarters of a failed piece; the smallest goes to the next finer level, then nowhere."""
    if max(box.width, box.height) > _SMALLEST_PX:
        halves = max(1, -(-box.width // 2)), max(1, -(-box.height // 2))
        return [(piece, level) for piece in _pieces(box, *halves)]
    return [(box, level - 1)] if level else []


def _coarse(
    reader: SlideReader, frame: PlaneFrame, level: int, box: Box
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read one piece of an overview and where its pixels have none stored under their centre."""
    taps_x, taps_y = _taps(reader, frame, level, box)
    source, none = reader.read_absent(level, taps_x.first, taps_y.first, taps_x.count, taps_y.count)
    scale_x, scale_y = reader.level_scales[level]
    centre_x = (frame.origin_x_l0 + (np.arange(box.x0, box.x1) + 0.5) * frame.scale_x) / scale_x
    centre_y = (frame.origin_y_l0 + (np.arange(box.y0, box.y1) + 0.5) * frame.scale_y) / scale_y
    cols = np.clip(centre_x.astype(np.int64) - taps_x.first, 0, taps_x.count - 1)
    rows = np.clip(centre_y.astype(np.int64) - taps_y.first, 0, taps_y.count - 1)
    return resample(source, taps_y, taps_x), none[np.ix_(rows, cols)]


def _taps(
    reader: SlideReader, frame: PlaneFrame, level: int, box: Box
) -> tuple[AxisTaps, AxisTaps]:
    """Taps (x, y) of a box of the frame on one level."""
    scale_x, scale_y = reader.level_scales[level]
    return (
        axis_taps(
            box.x0, box.width, origin=frame.origin_x_l0 / scale_x, scale=frame.scale_x / scale_x
        ),
        axis_taps(
            box.y0, box.height, origin=frame.origin_y_l0 / scale_y, scale=frame.scale_y / scale_y
        ),
    )


def _pieces(box: Box, step_x: int, step_y: int) -> Iterator[Box]:
    for row in range(math.ceil(box.height / step_y)):
        for col in range(math.ceil(box.width / step_x)):
            x0, y0 = box.x0 + col * step_x, box.y0 + row * step_y
            yield Box(x0, y0, min(x0 + step_x, box.x1), min(y0 + step_y, box.y1))


def _overlap(one: Box, other: Box) -> Box | None:
    x0, y0 = max(one.x0, other.x0), max(one.y0, other.y0)
    x1, y1 = min(one.x1, other.x1), min(one.y1, other.y1)
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
