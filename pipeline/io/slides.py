"""Open a slide: one protocol, two libraries behind it, one written rule which of them reads what.

The rule (``reader="auto"``), decided by the file's content and never by what happens to work:

1. What OpenSlide detects as a vendor's format is read by OpenSlide. If OpenSlide detects the file
   and cannot open it, that is an error, not a slide for the other reader.
2. A TIFF whose description is OME-XML is read by TiffSlide: its lower levels are SubIFDs, of which
   OpenSlide sees none.
3. A generic tiled TIFF that OpenSlide detects is read by OpenSlide.
4. A tiled TIFF that OpenSlide does not detect is read by TiffSlide. All TIFFs of 2 to 4 must be
   whole: a file that ends before its own tables do is refused.
5. Everything else is refused in one line.

``reader="openslide"`` or ``"tiffslide"`` overrides the rule and is part of a result's provenance.
Label and macro images are never read, and no property beyond the ones named here leaves a reader:
the others carry names, barcodes and dates of birth.
"""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.tiling import Box
from pipeline.errors import ConfigError
from pipeline.io import vms
from pipeline.io.mirax import mirax_fault, refuse_incomplete
from pipeline.io.reading import refuse_no_file, unreadable
from pipeline.io.tiff_limits import refuse_absurd

SUFFIXES = frozenset(
    (
        *(".svs", ".tif", ".tiff", ".btf", ".ndpi", ".vms", ".vmu", ".scn"),
        *(".mrxs", ".bif", ".svslide", ".dcm", ".czi", ".avs"),
    )
)
"""Names that are taken for slides when a folder is searched."""

TIFFSLIDE_READS = (None, "generic-tiff", "aperio", "philips")
"""Formats whose geometry TiffSlide gets right; it leaves Ventana tiles unstitched, for example."""


class SlideReader(Protocol):
    """One open slide. Handles are cheap to make and never travel between processes.

    ``read`` may be called from several threads.
    """

    @property
    def name(self) -> str:
        """File name, without any folder."""

    @property
    def reader(self) -> str:
        """Library that reads it: ``openslide`` or ``tiffslide``."""

    @property
    def reader_version(self) -> str:
        """Version of that library."""

    @property
    def vendor(self) -> str | None:
        """Format, in OpenSlide's words (``aperio``, ``mirax``, ``generic-tiff``, ...)."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0 in pixels."""

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each level in its own pixels."""

    @property
    def level_scales(self) -> tuple[tuple[float, float], ...]:
        """Level-0 pixels per level pixel (x, y) of each level."""

    @property
    def level_error_l0(self) -> tuple[float, ...]:
        """Level-0 pixels by which pixels of a level may stand off; 0 where the level is exact."""

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Micrometres per level-0 pixel (x, y) as the file states them, however absurd."""

    @property
    def mpp_source(self) -> str | None:
        """Where ``mpp`` stands in the file: ``vendor``, ``ome-xml`` or ``tiff-tag``."""

    @property
    def objective(self) -> float | None:
        """Objective power as the file states it; often wrong, never used in arithmetic."""

    @property
    def bounds(self) -> Box:
        """Part of level 0 that was scanned; the whole level where the file does not say."""

    @property
    def resampled(self) -> bool:
        """Whether the largest level is a reduced copy: the full-resolution file is missing."""

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read ``(height, width, 3)`` uint8 RGB at (x, y) of a level, all in level pixels.

        The rectangle may lie anywhere; there is white where no pixel is stored. A pixel is the
        same whatever rectangle asks for it.

        Raises
        ------
        UnreadableSlideError
            This rectangle is damaged; the next good one can still be read.
        """

    def read_absent(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read pixels like ``read``, and ``(height, width)`` bool: where no pixel is stored."""

    def close(self) -> None:
        """Close the file."""


def open_slide(path: Path, reader: str = "auto") -> SlideReader:
    """Open a slide with the reader that the rule above names.

    Parameters
    ----------
    reader
        ``auto``, ``openslide`` or ``tiffslide``.

    Raises
    ------
    UnreadableSlideError
        No slide, damaged, truncated, or a format that the wanted reader gets wrong.
    ConfigError
        Unknown reader, or an OpenSlide library older than 4.0.1.
    """
    if reader not in ("auto", "openslide", "tiffslide"):
        raise ConfigError(f"slides.reader={reader}: choose auto, openslide or tiffslide")
    refuse_no_file(path)
    refuse_absurd(path)
    from pipeline.io.openslide_reader import OpenSlideReader, detect_vendor

    vendor = detect_vendor(path)
    chosen = _choose(path, vendor) if reader == "auto" else reader
    if vendor == "mirax":
        refuse_incomplete(path)
    if vendor == "hamamatsu" and vms.is_vms_name(path.name):
        vms.refuse_incomplete(path)
    if chosen == "openslide":
        return OpenSlideReader(path)
    if vendor not in TIFFSLIDE_READS:
        raise unreadable(path, f"a {vendor} slide is read by OpenSlide only; use reader=auto")
    from pipeline.io.tiffslide_reader import TiffSlideReader

    return TiffSlideReader(path, vendor)


def _choose(path: Path, vendor: str | None) -> Literal["openslide", "tiffslide"]:
    if vendor not in (None, "generic-tiff"):
        return "openslide"
    from pipeline.io.tiff import is_tiff, is_whole_ome

    if is_whole_ome(path):
        return "tiffslide"
    if vendor is not None:
        return "openslide"
    if path.suffix.lower() == ".mrxs":
        raise unreadable(path, mirax_fault(path))
    if is_tiff(path):
        return "tiffslide"
    raise unreadable(path, "no slide format that OpenSlide or TiffSlide knows; convert it first")
