"""Readers of slides behind URLs: ranges for TiffSlide, a staged local copy for OpenSlide.

The rule: ``auto`` takes the library that it takes for a local copy of the same file, so a result
does not depend on where the slide lies. An OME-TIFF, which is TiffSlide's, is read in ranges; all
else is staged, and the copy goes through the rule of `slides`. ``reader="tiffslide"`` reads the
formats that TiffSlide gets right (SVS, Philips, tiled TIFF, OME-TIFF) in ranges, where the server
gives ranges; ``reader="openslide"`` stages.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tifffile

from pipeline.config import InputSettings
from pipeline.errors import SlideError
from pipeline.io.fingerprint import SlideContent, slide_content
from pipeline.io.ranges import RangeFile
from pipeline.io.reading import unreadable
from pipeline.io.remote_slides import RemoteSlide
from pipeline.io.scratch import StagedCopy, stage
from pipeline.io.slides import TIFFSLIDE_READS, SlideReader, open_slide
from pipeline.io.tiff import BAD_TIFF, quieten

_VENDORS = {
    "is_svs": "aperio",
    "is_philips": "philips",
    "is_ndpi": "hamamatsu",
    "is_scn": "leica",
    "is_bif": "ventana",
}


def open_remote(
    slide: RemoteSlide,
    reader: str,
    settings: InputSettings,
    make_room: Callable[[], None] | None = None,
) -> SlideReader:
    """Open a slide by the rule above; ``make_room`` as for `scratch.stage`.

    Raises
    ------
    SlideError
        It cannot be read, or there is no room for its copy.
    """
    single = slide.ranges and len(slide.files) == 1
    if single and (reader == "tiffslide" or (reader == "auto" and _is_plain_ome(slide))):
        return _open_ranges(slide)
    copy = stage(slide, settings, make_room)
    try:
        return _closing(open_slide(copy.path, reader), copy.release)
    except BaseException:
        copy.release()
        raise


def staged_content(slide: RemoteSlide, copy: StagedCopy, *, full: bool) -> SlideContent:
    """Look at the content of a slide whose server gives no ranges."""
    found = slide_content(copy.path, full=full)
    marks = {file.name if number else "": file.mark() for number, file in enumerate(slide.files)}
    members = {name: replace(member, mark=marks[name]) for name, member in found.members.items()}
    return replace(found, members=members)


def _open_ranges(slide: RemoteSlide) -> SlideReader:
    from pipeline.io.tiffslide_reader import TiffSlideReader

    file, path = RangeFile(slide.files[0]), Path(slide.files[0].name)
    quieten()
    try:
        with tifffile.TiffFile(file, name=path.name) as tif:
            vendor = _vendor_of(tif)
    except SlideError:
        raise
    except BAD_TIFF as error:
        raise unreadable(path, f"TiffSlide cannot open it: {error}") from error
    if vendor not in TIFFSLIDE_READS:
        raise unreadable(path, f"a {vendor} slide is read by OpenSlide only; use reader=auto")
    file.seek(0)  # tifffile takes the place where a file stands for its beginning
    return TiffSlideReader(path, vendor, file)


def _is_plain_ome(slide: RemoteSlide) -> bool:
    """Whether TiffSlide reads a local copy: OME-XML, and no vendor's format."""
    quieten()
    try:
        with tifffile.TiffFile(RangeFile(slide.files[0]), name=slide.files[0].name) as tif:
            return bool(tif.is_ome) and _vendor_of(tif) is None
    except SlideError:
        raise
    except BAD_TIFF:
        return False


def _vendor_of(tif: Any) -> str | None:
    return next((vendor for flag, vendor in _VENDORS.items() if getattr(tif, flag, False)), None)


def _closing(reader: SlideReader, after: Callable[[], None]) -> SlideReader:
    """Make closing a reader do one thing more."""
    close = reader.close

    def close_both() -> None:
        close()
        after()

    reader.close = close_both  # type: ignore[method-assign]
    return reader
