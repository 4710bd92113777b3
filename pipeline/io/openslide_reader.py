"""Slides through OpenSlide: level pixels on white, errors that do not last.

OpenSlide errors latch: after one damaged tile a handle fails for every later read, also of good
places. A failing read is therefore tried once more on a fresh handle, which is kept only if it
succeeds.
"""

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.tiling import Box
from pipeline.errors import ConfigError
from pipeline.io.jpeg_tiles import VENDORS, JpegTiles
from pipeline.io.reading import (
    WHITE,
    bounds_within,
    inside,
    level_scales,
    number,
    on_white,
    pair,
    unreadable,
)

LEAST_LIBRARY = (4, 0, 1)
"""Before it: a memory write on crafted BIF files and undefined pixels with some libtiff."""

BLOCK_PX = 1024
"""Side of the slide-wide grid of blocks that inexact levels are read through."""

_PLACED = ("leica",)
"""Vendors whose scan areas OpenSlide places at offset / downsample on every level."""


def detect_vendor(path: Path) -> str | None:
    """Name the format as OpenSlide detects it, or None.

    Raises
    ------
    ConfigError
        The OpenSlide library is older than 4.0.1.
    """
    version = openslide.__library_version__
    if _version(version) < LEAST_LIBRARY:
        raise ConfigError(
            f"OpenSlide library {version} is older than 4.0.1, which fixes wrong pixels and a "
            "memory fault; install openslide-bin>=4.0.1"
        )
    try:
        return openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None


def library_version() -> str:
    """Version of the OpenSlide library that is loaded."""
    return str(openslide.__library_version__)


def _version(text: str) -> tuple[int, ...]:
    numbers = (part for part in text.replace("-", ".").split(".") if part.isdigit())
    return tuple(int(part) for part in numbers)[:3]


class OpenSlideReader:
    """A slide that OpenSlide reads.

    Raises
    ------
    UnreadableSlideError
        OpenSlide cannot open the file.
    """

    reader = "openslide"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: openslide.OpenSlide | None = None
        slide = self._open()
        try:
            self._describe(slide)
        except openslide.OpenSlideError as error:
            raise unreadable(path, error) from error
        self._handle = slide
        self._tiles = self._jpeg_tiles()

    def _describe(self, slide: openslide.OpenSlide) -> None:
        """Take the few properties that may leave the file; all others stay inside."""
        stated = slide.properties.get
        self.name = self._path.name
        self.reader_version = openslide.__library_version__
        self.vendor = stated("openslide.vendor")
        self.level_sizes = slide.level_dimensions
        self.size = self.level_sizes[0]
        self._downsamples = slide.level_downsamples
        self.level_scales = level_scales(self.level_sizes, snap=self.vendor not in _PLACED)
        self.level_error_l0 = tuple(0.0 if _whole(d) else 0.5 for d in self._downsamples)
        self.mpp = pair(stated("openslide.mpp-x"), stated("openslide.mpp-y"))
        source = "tiff-tag" if self.vendor == "generic-tiff" else "vendor"
        self.mpp_source = source if self.mpp else None
        self.objective = number(stated("openslide.objective-power"))
        self.bounds = bounds_within(
            self.size,
            [stated(f"openslide.bounds-{axis}") for axis in ("x", "y")],
            [stated(f"openslide.bounds-{side}") for side in ("width", "height")],
        )
        self.resampled = stated("dicom.ImageType[3]") == "RESAMPLED"

    def _jpeg_tiles(self) -> JpegTiles | None:
        if self.vendor not in VENDORS:
            return None

        def shown(level: int, box: Box) -> NDArray[np.uint8]:
            return self._rendered(level, box)[0]

        return JpegTiles(self._path, self.level_sizes, shown)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read ``(height, width, 3)`` uint8 in level pixels; see `slides.SlideReader`."""
        return self.read_absent(level, x, y, width, height)[0]

    def read_absent(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read pixels, and where none is stored; see `slides.SlideReader`."""
        box = inside(self.level_sizes[level], x, y, width, height)
        if box and (box.x0, box.y0, box.width, box.height) == (x, y, width, height):
            return self._stored(level, box)
        pixels = np.full((height, width, 3), WHITE, np.uint8)
        absent = np.ones((height, width), np.bool_)
        if box:
            part = np.s_[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x]
            pixels[part], absent[part] = self._stored(level, box)
        return pixels, absent

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def _stored(self, level: int, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        if _whole(self._downsamples[level]):
            pixels = None if self._tiles is None else self._tiles.read(level, box)
            if pixels is not None:
                return pixels, np.zeros(pixels.shape[:2], np.bool_)
            return self._rendered(level, box)
        # OpenSlide takes whole level-0 places, so only some pixels of such a level can be hit and
        # the rest come out shifted by a fraction that depends on where the read began: begin
        # every read at a corner of one grid, and the fraction depends on the pixel alone
        rendered = np.empty((box.height, box.width, 3), np.uint8)
        absent = np.empty((box.height, box.width), np.bool_)
        for top in range(box.y0 - box.y0 % BLOCK_PX, box.y1, BLOCK_PX):
            for left in range(box.x0 - box.x0 % BLOCK_PX, box.x1, BLOCK_PX):
                x0, y0 = max(left, box.x0), max(top, box.y0)
                x1, y1 = min(left + BLOCK_PX, box.x1), min(top + BLOCK_PX, box.y1)
                rgb, none = self._rendered(level, Box(left, top, x1, y1))
                part = np.s_[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0]
                rendered[part] = rgb[y0 - top :, x0 - left :]
                absent[part] = none[y0 - top :, x0 - left :]
        return rendered, absent

    def _rendered(self, level: int, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        downsample = self._downsamples[level]
        corner = math.floor(box.x0 * downsample + 0.5), math.floor(box.y0 * downsample + 0.5)
        return on_white(self._region(corner, level, (box.width, box.height)))

    def _region(self, corner_l0: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """Read one RGBA region; a fresh handle gets a second try.

        The fresh handle is private until it has succeeded, so a thread that reads a damaged
        place never spoils the handle of another.
        """
        if self._handle is not None:
            with suppress(openslide.OpenSlideError):
                return self._handle.read_region(corner_l0, level, size)
            # not closed: another thread may be reading; it is freed with its last reference
            self._handle = None
        fresh = self._open()
        try:
            region = fresh.read_region(corner_l0, level, size)
        except openslide.OpenSlideError as error:
            place = f"damaged at level-0 pixel {corner_l0}, level {level}"
            reason = str(unreadable(self._path, error)).removeprefix(f"{self.name}: ")
            raise unreadable(self._path, f"{place}: {reason}") from error
        self._handle = fresh
        return region

    def _open(self) -> openslide.OpenSlide:
        try:
            return openslide.OpenSlide(self._path)
        except openslide.OpenSlideError as error:
            said = str(error).rstrip(".")
            remedy = "copy or export it again, or convert it to a pyramidal TIFF"
            raise unreadable(self._path, f"OpenSlide cannot open it: {said}; {remedy}") from error
        except OSError as error:
            raise unreadable(self._path, error.strerror or "cannot be opened") from error


def _whole(downsample: float) -> bool:
    """Whether every level pixel begins at a level-0 pixel that can be named."""
    return downsample == round(downsample)
