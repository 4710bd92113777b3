"""A mask image as a region of interest: other than 0 is inside, scaled to the slide."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.tiling import Box
from pipeline.errors import AnnotationError
from pipeline.io.roi import MaskImage, Roi

MASK_SUFFIXES = (".png", ".tiff", ".tif")
MOST_PIXELS = 1 << 28
"""Of a mask: a slide of 100,000 px at 1/6 of its size. A compressed bomb is refused unread."""

_WITH_ALPHA = {2, 4}


def read_mask(path: Path, *, sha256: str, bounds: Box) -> Roi:
    """Read a PNG or TIFF whose pixels other than 0 are inside; an alpha channel is not looked at.

    Raises
    ------
    AnnotationError
        It is damaged, too large, of another shape than the slide, or all 0.
    """
    try:
        pixels = _read_png(path) if path.suffix.lower() == ".png" else _read_tiff(path)
    except AnnotationError:
        raise
    except Exception as error:  # whatever a damaged image does to a decoder
        raise AnnotationError(
            f"{path.name}: cannot be read as an image ({type(error).__name__}); export it again"
        ) from error
    inside = _inside(pixels)
    _check_shape(path, inside, bounds)
    if not inside.any():
        raise AnnotationError(f"{path.name}: every pixel is 0, so no cell would be counted")
    return Roi(path.name, sha256, MaskImage(inside, bounds))


def _read_png(path: Path) -> NDArray[np.generic]:
    with path.open("rb") as stream, Image.open(stream, formats=["PNG"]) as picture:
        _check_size(path, picture.width, picture.height)
        # a palette image keeps its indices: QuPath writes labels that way, 0 is background
        return np.asarray(picture)


def _read_tiff(path: Path) -> NDArray[np.generic]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        height, width = page.shape[:2]
        _check_size(path, width, height)
        return np.asarray(page.asarray())


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise AnnotationError(
            f"{path.name}: {width} x {height} pixels, more than {MOST_PIXELS}; export the mask "
            "at a lower resolution"
        )


def _inside(pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
    if pixels.ndim == 2:
        return np.asarray(pixels != 0)
    if pixels.ndim != 3:
        raise AnnotationError(f"a mask image has 2 or 3 axes, not {pixels.ndim}")
    colours = pixels[..., :-1] if pixels.shape[-1] in _WITH_ALPHA else pixels
    return np.asarray((colours != 0).any(axis=-1))


def _check_shape(path: Path, inside: NDArray[np.bool_], bounds: Box) -> None:
    """Both sides are reduced by one factor, to within a pixel of the mask."""
    height, width = inside.shape
    if abs(width * bounds.height - height * bounds.width) > max(bounds.width, bounds.height) * 1.5:
        raise AnnotationError(
            f"{path.name}: {width} x {height} pixels have not the shape of the slide "
            f"({bounds.width} x {bounds.height}); export the mask of the whole slide"
        )
