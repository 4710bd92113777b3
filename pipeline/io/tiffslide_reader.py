"""Slides through TiffSlide: OME-TIFF and plain tiled TIFF, with white where no tile is stored."""

import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tiffslide
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.tiling import Box
from pipeline.errors import SlideError
from pipeline.io.reading import (
    WHITE,
    bounds_within,
    inside,
    level_scales,
    number,
    ome_mpp,
    on_white,
    pair,
    unreadable,
)
from pipeline.io.tiff import BAD_TIFF, TileTable, quieten, refuse_damaged
from pipeline.io.tile_claims import check_tiles_of


class _LevelSlide(tiffslide.TiffSlide):
    """A TiffSlide whose locations are level pixels, which are exact on every level."""

    def _read_region_loc_transform(self, location: tuple[int, int], level: int) -> tuple[int, int]:  # noqa: ARG002
        return location


class TiffSlideReader:
    """A slide that TiffSlide reads.

    Parameters
    ----------
    path
        Names the slide in messages.
    file
        An open binary file that is read in the place of the path.

    Raises
    ------
    UnreadableSlideError
        No tiled 8-bit RGB TIFF, or truncated.
    """

    reader = "tiffslide"

    def __init__(self, path: Path, vendor: str | None, file: Any = None) -> None:
        self._path = path
        # threads belong to whoever schedules the work; the default takes half of the machine a read
        os.environ.setdefault("TIFFSLIDE_NUM_DECODE_THREADS", "1")
        quieten()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._slide = _LevelSlide(path if file is None else file)
        except SlideError:  # of a remote file: no damage, see `ranges`
            raise
        except BAD_TIFF as error:
            raise unreadable(path, f"TiffSlide cannot open it: {error}") from error
        try:
            self._describe(vendor)
        except SlideError:
            self.close()
            raise
        except (*BAD_TIFF, NotImplementedError) as error:
            self.close()
            raise unreadable(path, f"TiffSlide cannot read it: {error}") from error

    def _describe(self, vendor: str | None) -> None:
        """Take the few properties that may leave the file; all others stay inside."""
        tif = self._slide.ts_tifffile
        refuse_damaged(self._path, tif)
        stated = self._slide.properties.get
        self._tiles = self._tile_tables(tif)
        self.name = self._path.name
        self.reader_version = version("tiffslide")
        self.vendor = "ome-tiff" if tif.is_ome else vendor or "generic-tiff"
        self.level_sizes = self._slide.level_dimensions
        self.size = self.level_sizes[0]
        self.level_scales = level_scales(self.level_sizes)
        self.level_error_l0 = (0.0,) * len(self.level_sizes)
        self.mpp, self.mpp_source = _resolution(tif, stated)
        self.objective = number(stated("tiffslide.objective-power"))
        self.bounds = bounds_within(self.size, (None, None), (None, None))
        self.resampled = False

    def _tile_tables(self, tif: Any) -> list[TileTable]:
        series = tif.series[self._slide.properties["tiffslide.series-index"]]
        pages = [level.pages[0] for level in series.levels]
        for page in pages:
            if not page.is_tiled:
                raise unreadable(self._path, "a TIFF without tiles; convert it to a tiled TIFF")
            if page.dtype != np.uint8 or page.samplesperpixel not in (3, 4):
                raise unreadable(
                    self._path,
                    f"{page.samplesperpixel} samples of {page.dtype} a pixel; a slide is 8-bit RGB",
                )
            check_tiles_of(page)
        return [TileTable.of(page) for page in pages]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read ``(height, width, 3)`` uint8 in level pixels; see `slides.SlideReader`."""
        return self.read_absent(level, x, y, width, height)[0]

    def read_absent(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read pixels, and where none is stored; see `slides.SlideReader`."""
        pixels = np.full((height, width, 3), WHITE, np.uint8)
        absent = np.ones((height, width), np.bool_)
        box = inside(self.level_sizes[level], x, y, width, height)
        if box:
            part = np.s_[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x]
            pixels[part], absent[part] = self._stored(level, box)
        return pixels, absent

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def __del__(self) -> None:
        """Close what was forgotten, as OpenSlide's handles do."""
        if hasattr(self, "_slide"):
            self._slide.close()

    def _stored(self, level: int, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        size = box.width, box.height
        try:
            stored = self._slide.read_region((box.x0, box.y0), level, size, as_array=True)
        except SlideError:
            raise
        except BAD_TIFF as error:
            place = f"damaged at pixel {(box.x0, box.y0)} of level {level}"
            raise unreadable(self._path, f"{place}: {error}") from error
        pixels = np.asarray(stored, np.uint8)
        absent = np.zeros(pixels.shape[:2], np.bool_)
        if pixels.shape[-1] == 4:
            pixels, absent = on_white(Image.fromarray(pixels))
        for tile in self._tiles[level].absent(box):
            part = np.s_[tile.y0 - box.y0 : tile.y1 - box.y0, tile.x0 - box.x0 : tile.x1 - box.x0]
            pixels[part], absent[part] = WHITE, True
        return pixels, absent


def _resolution(tif: Any, stated: Any) -> tuple[tuple[float, float] | None, str | None]:
    """Micrometres per pixel and where the file states them."""
    if tif.is_ome:
        mpp = ome_mpp(tif.pages[0].description)
        if mpp:
            return mpp, "ome-xml"
    mpp = pair(stated("tiffslide.mpp-x"), stated("tiffslide.mpp-y"))
    if mpp is None:
        return None, None
    by_vendor = stated("aperio.MPP") is not None or tif.is_philips
    return mpp, "vendor" if by_vendor else "tiff-tag"
