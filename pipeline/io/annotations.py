"""Regions of interest of a slide: found by the slide's name, read from QuPath or a mask image."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.tiling import Box
from pipeline.errors import AnnotationError
from pipeline.io.annotation_image import MASK_SUFFIXES, read_mask
from pipeline.io.annotation_polygons import POLYGON_SUFFIXES, RoiClasses, read_polygons
from pipeline.io.files import sha256_file
from pipeline.io.roi import Roi

__all__ = ["Roi", "RoiClasses", "find_roi", "list_rois", "read_roi", "roi_sha256", "unused_rois"]

MOST_FILE_BYTES = 512 << 20
"""Larger files are not even read: a region of interest is drawn by hand."""

SUFFIXES = (*POLYGON_SUFFIXES, *MASK_SUFFIXES)


@dataclass(frozen=True, slots=True)
class RoiFiles:
    """The region files of a folder, by the name they stand for."""

    folder: Path
    by_stem: dict[str, tuple[Path, ...]]
    """File name without its suffix, lower case."""


def list_rois(folder: Path) -> RoiFiles:
    """List the region files of a folder; subfolders and hidden files are left out.

    Raises
    ------
    AnnotationError
        It is no folder, or cannot be read.
    """
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise AnnotationError(
            f"{folder}: no folder of regions of interest ({error.strerror}); give --roi the folder "
            "that holds one file a slide"
        ) from error
    found: dict[str, tuple[Path, ...]] = {}
    for path in names:
        suffix = _suffix(path.name)
        if suffix and not path.name.startswith(".") and path.is_file():
            stem = path.name[: -len(suffix)].lower()
            found[stem] = (*found.get(stem, ()), path)
    return RoiFiles(folder, found)


def find_roi(files: RoiFiles, *, slide_id: str, name: str) -> Path | None:
    """Return the region file of a slide: named by its id, its file name or its stem.

    Parameters
    ----------
    slide_id
        Folder of the slide below ``slides/``; the only name that is never ambiguous.
    name
        The slide's path below the input folder.

    Raises
    ------
    AnnotationError
        More than one file could be meant.
    """
    file_name = Path(name).name
    for wanted in (slide_id, file_name, Path(file_name).stem):
        paths = files.by_stem.get(wanted.lower(), ())
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise AnnotationError(
                f"{name}: more than one region of interest ({names}); keep one of them"
            )
        if paths:
            return paths[0]
    return None


def roi_sha256(path: Path) -> str:
    """Hex sha256 of a region file.

    Raises
    ------
    AnnotationError
        It cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > MOST_FILE_BYTES:
            raise AnnotationError(
                f"{path.name}: {size >> 20} MB, more than {MOST_FILE_BYTES >> 20}; export the "
                "annotations without detections, or the mask at a lower resolution"
            )
        return sha256_file(path)
    except OSError as error:
        raise AnnotationError(f"{path.name}: cannot be read ({error.strerror})") from error


def read_roi(path: Path, *, bounds: Box, classes: RoiClasses) -> Roi:
    """Read a region of interest, in level-0 pixels.

    Parameters
    ----------
    path
        GeoJSON as QuPath exports it (``.geojson``, ``.json``, either gzipped) or a mask image
        (``.png``, ``.tif``, ``.tiff``; other than 0 is inside).
    bounds
        The rectangle of level 0 that QuPath opens; polygons are given from its corner, a mask
        image covers it.
    classes
        Which annotations count; a mask image has none.

    Raises
    ------
    AnnotationError
        The file is damaged, too large, holds no area on the slide, or none of the classes.
    """
    sha256 = roi_sha256(path)
    if _suffix(path.name) in MASK_SUFFIXES:
        return read_mask(path, sha256=sha256, bounds=bounds)
    return read_polygons(path, sha256=sha256, bounds=bounds, classes=classes)


def unused_rois(files: RoiFiles, used: Sequence[Path]) -> list[str]:
    """Names of region files that belong to none of the slides: most likely misspelt."""
    taken = set(used)
    return sorted(
        path.name for paths in files.by_stem.values() for path in paths if path not in taken
    )


def _suffix(name: str) -> str:
    """The known suffix a file name ends in, as it is written, or an empty word."""
    for suffix in SUFFIXES:
        if fnmatch.fnmatch(name.lower(), f"?*{suffix}"):
            return suffix
    return ""
