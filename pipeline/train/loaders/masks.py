"""Masks of nuclei: label images or black-and-white ones; a nucleus becomes its centroid."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import (
    IMAGE_SUFFIXES,
    image_field,
    image_paths,
    note_orphans,
    without_annotation,
)
from pipeline.train.loaders.marks import cells_of

MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")
DARK_BELOW, BRIGHT_FROM = 64, 192
"""Grey values of a black-and-white mask: a quarter of the range from its end is clear."""
_LOSSY = (".jpg", ".jpeg")
_MOST_OF_ONE = 0.5
"""A nucleus fills no more of a field."""


def load_masks(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images/NAME.png`` with ``masks/NAME.png`` (or ``NAME_mask.png``, ``.tif``, ``.npy``).

    The nuclei have no class. An image is its own group unless its name begins like another's up
    to the first ``_``.
    """
    paths = image_paths(folder / "images", source)
    masks = _mask_paths(folder / "masks")
    for path in paths:
        with faults.gathered():
            if path.stem not in masks:
                raise without_annotation(folder / "masks" / f"{path.stem}.png")
            group = path.stem.split("_")[0]
            bare = image_field(path, cells_of(np.empty((0, 2))), source, group=group)
            height, width = bare.image.shape[:2]
            cells = cells_of(mask_centroids(masks[path.stem], source, (height, width)))
            x_px, y_px = cells.xy_px.T
            yield replace(bare, x_px=x_px, y_px=y_px, label=cells.label)
    note_orphans(masks.items(), (path.stem for path in paths), source, faults)


def mask_centroids(path: Path, source: SourceConfig, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Centres of gravity of a mask's nuclei, ``(N, 2)`` continuous x, y.

    Raises
    ------
    AnnotationError
        It cannot be read, has another shape than the image's ``(height, width)``, or holds one
        value for all nuclei where numbers are asked for.
    """
    stored = _read_mask(path, bilevel=source.masks != "instances")
    if stored.shape != shape:
        of_mask, of_image = (f"{width} x {height}" for height, width in (stored.shape, shape))
        raise AnnotationError(
            f"{path}: the mask has {of_mask} px and its image {of_image}; give the mask of "
            "this image at its full size"
        )
    if source.masks == "instances":
        _refuse_unnumbered(path, stored)
        return instance_centroids(stored, min_area_px=source.min_area_px)
    nuclei = stored < DARK_BELOW if source.masks == "dark" else stored >= BRIGHT_FROM
    if source.opening_px:
        nuclei = ndimage.binary_opening(nuclei, _disc(source.opening_px))
    return instance_centroids(ndimage.label(nuclei)[0], min_area_px=source.min_area_px)


def instance_centroids(labels: NDArray[np.integer], *, min_area_px: int = 0) -> NDArray[np.float64]:
    """Centres of gravity of numbered nuclei, ``(N, 2)`` continuous x, y; 0 is background."""
    row, col = np.nonzero(labels)
    _, number = np.unique(labels[row, col], return_inverse=True)
    area = np.bincount(number)
    centre = [
        np.bincount(number, weights=index + 0.5) / np.maximum(area, 1) for index in (col, row)
    ]
    return np.column_stack(centre)[area >= min_area_px]


def _read_mask(path: Path, *, bilevel: bool) -> NDArray[np.integer]:
    if not bilevel and path.suffix.lower() in _LOSSY:
        raise AnnotationError(f"{path}: JPEG changes the numbers of nuclei; save it as PNG")
    try:
        if path.suffix.lower() == ".npy":
            mask = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as opened:
                mask = np.asarray(opened.convert("L") if bilevel else opened)
    except (OSError, SyntaxError, ValueError) as error:
        raise AnnotationError(
            f"{path}: the mask cannot be read ({error}); copy it again"
        ) from error
    if mask.ndim != 2 or not (np.issubdtype(mask.dtype, np.integer) or mask.dtype == bool):
        raise AnnotationError(
            f"{path}: the mask is {mask.dtype} {mask.shape}; save whole numbers in one channel, "
            'or set masks = "dark" or "bright"'
        )
    return np.asarray(mask.astype(np.int64))


def _refuse_unnumbered(path: Path, labels: NDArray[np.integer]) -> None:
    """One value for many pieces, or for most of the field, is black and white, no number."""
    marked = labels != 0
    if len(np.unique(labels[marked])) == 1 and (
        ndimage.label(marked)[1] > 1 or marked.mean() > _MOST_OF_ONE
    ):
        raise AnnotationError(
            f"{path}: all nuclei have the same value; number them, or set "
            'masks = "dark" or "bright"'
        )


def _mask_paths(folder: Path) -> dict[str, Path]:
    """Mask of each image's name."""
    if not folder.is_dir():
        raise AnnotationError(f"there is no folder {folder}; put the masks there")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in MASK_SUFFIXES)
    found: dict[str, Path] = {}
    for path in paths:
        first = found.setdefault(path.stem.removesuffix("_mask"), path)
        if first != path:
            raise AnnotationError(f"{first} and {path.name} are masks of one image; keep one")
    return found


def _disc(radius_px: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.asarray(x**2 + y**2 <= radius_px**2)
