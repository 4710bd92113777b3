"""What a TIFF file says about itself: OME, tiled, whole, and which tiles it leaves out."""

import logging
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.core.tiling import Box
from pipeline.errors import UnreadableSlideError
from pipeline.io.reading import unreadable

BAD_TIFF = (
    ValueError,
    RuntimeError,
    OSError,
    LookupError,
    ArithmeticError,
    TypeError,
    struct.error,
    zlib.error,
)
"""What tifffile raises on files that are damaged or no TIFF."""

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def quieten() -> None:
    """Keep tifffile's warnings about other people's tags from standing between our lines."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def is_tiff(path: Path) -> bool:
    """Whether the file begins like a TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def is_whole_ome(path: Path) -> bool:
    """Whether the first page's description is OME-XML.

    Raises
    ------
    UnreadableSlideError
        The file is cut off; a reader might show what is left of it.
    """
    if not is_tiff(path):
        return False
    quieten()
    try:
        with tifffile.TiffFile(path) as tif:
            refuse_damaged(path, tif)
            return bool(tif.is_ome)
    except UnreadableSlideError:
        raise
    except BAD_TIFF:
        return False


def refuse_damaged(path: Path, tif: Any) -> None:
    """Refuse a file that ends before its own directories and tiles do.

    Readers open such files and fail somewhere in the middle, so the tables are compared with the
    size of the file first.

    Raises
    ------
    UnreadableSlideError
        The file is cut off.
    """
    size = tif.filehandle.size
    end = _end_of_directories(tif) if len(tif.pages) else _first_directory(tif)
    for page in tif.pages:
        for part in (page, *(page.pages or ())):
            offsets = np.asarray(part.dataoffsets, np.uint64)
            counts = np.asarray(part.databytecounts, np.uint64)
            if len(offsets):
                end = max(end, int((offsets + counts)[counts > 0].max(initial=0)))
    if end > size:
        raise unreadable(
            path,
            f"truncated: its tables reach to byte {end:,}, the file has {size:,}; copy it again",
        )


def _first_directory(tif: Any) -> int:
    """Where a file says that its tables begin; scanners write them last."""
    shape, file = tif.tiff, tif.filehandle
    file.seek(shape.offsetsize)  # 4 in a TIFF, 8 in a BigTIFF: both the size and the place
    (first,) = struct.unpack(shape.offsetformat, file.read(shape.offsetsize))
    return int(first + shape.tagnosize)


def _end_of_directories(tif: Any) -> int:
    """Find the byte that the chain of directories reaches to, a dangling last link included."""
    shape, file = tif.tiff, tif.filehandle
    last = tif.pages[len(tif.pages) - 1]
    file.seek(last.offset)
    (tags,) = struct.unpack(shape.tagnoformat, file.read(shape.tagnosize))
    file.seek(last.offset + shape.tagnosize + tags * shape.tagsize)
    link = file.read(shape.offsetsize)
    if len(link) < shape.offsetsize:
        return int(last.offset + shape.tagnosize + tags * shape.tagsize + shape.offsetsize)
    links = [struct.unpack(shape.offsetformat, link)[0]]
    links += [offset for page in tif.pages for offset in (page.subifds or ())]
    return max(int(offset) + shape.tagnosize if offset else 0 for offset in links)


@dataclass(frozen=True, slots=True, eq=False)
class TileTable:
    """Which tiles of one level hold bytes; a tile of zero bytes is absent, not black."""

    tile_width: int
    tile_height: int
    stored: NDArray[np.bool_]
    """(rows, cols)"""

    @classmethod
    def of(cls, page: Any) -> "TileTable":
        """Read the table of a tiled page; planar pages store each tile once a plane."""
        rows = -(-page.imagelength // page.tilelength)
        cols = -(-page.imagewidth // page.tilewidth)
        counts = np.asarray(page.databytecounts, np.uint64).reshape(-1, rows, cols)
        stored = np.asarray(np.all(counts > 0, axis=0), np.bool_)
        return cls(page.tilewidth, page.tilelength, stored)

    def absent(self, box: Box) -> Iterator[Box]:
        """Yield the parts of a box (level pixels) whose tiles are not stored."""
        rows = range(box.y0 // self.tile_height, -(-box.y1 // self.tile_height))
        cols = range(box.x0 // self.tile_width, -(-box.x1 // self.tile_width))
        within = self.stored[rows.start : rows.stop, cols.start : cols.stop]
        for row, col in np.argwhere(~within):
            x0 = (cols.start + int(col)) * self.tile_width
            y0 = (rows.start + int(row)) * self.tile_height
            yield Box(
                max(x0, box.x0),
                max(y0, box.y0),
                min(x0 + self.tile_width, box.x1),
                min(y0 + self.tile_height, box.y1),
            )
