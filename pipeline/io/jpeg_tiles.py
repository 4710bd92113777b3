"""JPEG tiles of plain tiled TIFFs, decoded one by one: much faster than OpenSlide renders them.

An aid to ``openslide_reader``, never a reader of its own: whatever is not plainly right (a tile
that is absent, damaged, of another size) is left to OpenSlide, which decides what it means. A level
is used only after its largest tile came out as OpenSlide shows it, to the last bit.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from pipeline.core.tiling import Box
from pipeline.errors import UnreadableSlideError
from pipeline.io.tiff import BAD_TIFF, quieten

Pixels = NDArray[np.uint8]

VENDORS = ("aperio", "generic-tiff")
"""Formats whose levels are one tiled TIFF page each, tile beside tile."""

_JPEG, _CONTIGUOUS, _RGB, _YCBCR = 7, 1, 2, 6
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""Marker that states what three channels mean; one byte follows: 0 RGB, 1 YCbCr."""
_JFIF = b"\xff\xe0"
"""Marker of a stream that is YCbCr whatever ours says; another Adobe marker would outdo ours."""


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.uint64]
    """``(rows, cols)``, as ``counts``: bytes of the file."""
    counts: NDArray[np.uint64]
    head: bytes
    """What a stream begins with in the place of its own first two bytes."""
    colours: int

    def tile(self, row: int, col: int) -> Box:
        """The pixels that a tile has on its level."""
        x0, y0 = col * self.tile_width, row * self.tile_height
        return Box(
            x0, y0, min(x0 + self.tile_width, self.width), min(y0 + self.tile_height, self.height)
        )


class JpegTiles:
    """Tiles of those levels of a file that are plain JPEG.

    Parameters
    ----------
    shown
        What OpenSlide shows of a box of a level; asked once a level.
    """

    def __init__(
        self,
        path: Path,
        level_sizes: Sequence[tuple[int, int]],
        shown: Callable[[int, Box], Pixels],
    ) -> None:
        self._path = path
        self._sizes = level_sizes
        self._shown = shown
        self._trusted: dict[int, bool] = {}

    def read(self, level: int, box: Box) -> Pixels | None:
        """Read ``(height, width, 3)`` uint8 of a box on the level; None: OpenSlide must."""
        table = self._levels.get(level)
        if table is None or not self._is_trusted(level, table):
            return None
        return self._decoded(table, box)

    @cached_property
    def _levels(self) -> Mapping[int, _Level]:
        quieten()
        try:
            with tifffile.TiffFile(self._path) as tif:
                pages = [found for page in tif.pages if (found := _level_of(page)) is not None]
        except BAD_TIFF:
            return {}
        by_size: dict[tuple[int, int], list[_Level]] = {}
        for page in pages:
            by_size.setdefault((page.width, page.height), []).append(page)
        # two pages of one size: which of them OpenSlide takes is its own matter
        return {
            level: by_size[size][0]
            for level, size in enumerate(self._sizes)
            if len(by_size.get(size, ())) == 1
        }

    def _is_trusted(self, level: int, table: _Level) -> bool:
        if level not in self._trusted:
            row, col = np.unravel_index(int(table.counts.argmax()), table.counts.shape)
            box = table.tile(int(row), int(col))
            found = self._decoded(table, box)
            self._trusted[level] = found is not None and self._is_shown(level, box, found)
        return self._trusted[level]

    def _is_shown(self, level: int, box: Box, found: Pixels) -> bool:
        try:
            return np.array_equal(found, self._shown(level, box))
        except UnreadableSlideError:  # not of the place that was asked for
            return False

    def _decoded(self, level: _Level, box: Box) -> Pixels | None:
        try:
            with self._path.open("rb", buffering=0) as file:
                return _decoded(file, level, box)
        except (OSError, OverflowError):  # a place that no file has
            return None


def _decoded(file: FileIO, level: _Level, box: Box) -> Pixels | None:
    rows = range(box.y0 // level.tile_height, -(-box.y1 // level.tile_height))
    cols = range(box.x0 // level.tile_width, -(-box.x1 // level.tile_width))
    pixels = np.empty((box.height, box.width, 3), np.uint8)
    buffer = np.empty((level.tile_height, level.tile_width, 3), np.uint8)
    for row in rows:
        for col in cols:
            if not _decode(file, level, row, col, buffer):
                return None
            tile = level.tile(row, col)
            x0, y0 = max(tile.x0, box.x0), max(tile.y0, box.y0)
            x1, y1 = min(tile.x1, box.x1), min(tile.y1, box.y1)
            pixels[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = buffer[
                y0 - tile.y0 : y1 - tile.y0, x0 - tile.x0 : x1 - tile.x0
            ]
    return pixels


def _decode(file: FileIO, level: _Level, row: int, col: int, buffer: Pixels) -> bool:
    """Decode one tile into the buffer; False where anything about it is unusual."""
    count = int(level.counts[row, col])
    if not 4 < count <= buffer.nbytes + len(level.head):
        return False
    stream = os.pread(file.fileno(), count, int(level.offsets[row, col]))
    first = stream[2:4]
    if stream[:2] != _SOI or first == _ADOBE[:2] or (first == _JFIF and level.colours != _YCBCR):
        return False
    try:
        # strict: what libjpeg only warns of is an error, as it is for OpenSlide; a stream that
        # claims more pixels than the buffer has room for is one too
        found = simplejpeg.decode_jpeg(level.head + stream[2:], "RGB", buffer=buffer)
    except ValueError:
        return False
    return bool(found.shape == buffer.shape)


def _level_of(page: Any) -> _Level | None:
    """A tiled page of 8-bit JPEG colours, or None."""
    if not (
        page.is_tiled
        and page.compression == _JPEG
        and page.photometric in (_RGB, _YCBCR)
        and page.planarconfig == _CONTIGUOUS
        and page.dtype == np.uint8
        and page.samplesperpixel == 3
        and page.imagedepth == 1
    ):
        return None
    tables = page.jpegtables or _SOI + _EOI
    if tables[:2] != _SOI or tables[-2:] != _EOI or tables[2:4] == _ADOBE[:2]:
        return None
    transform = b"\x00" if page.photometric == _RGB else b"\x01"
    rows, cols = -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)
    if len(page.dataoffsets) != rows * cols or len(page.databytecounts) != rows * cols:
        return None
    return _Level(
        page.imagewidth,
        page.imagelength,
        page.tilewidth,
        page.tilelength,
        np.asarray(page.dataoffsets, np.uint64).reshape(rows, cols),
        np.asarray(page.databytecounts, np.uint64).reshape(rows, cols),
        _SOI + _ADOBE + transform + tables[2:-2],
        int(page.photometric),
    )
