"""Masks of nuclei: label images or black-and-white ones; a nucleus becomes its centroid."""

from collections.abc import Iterator
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
            xy_px = mask_centroids(masks[path.stem], source)
            field = image_field(path, cells_of(xy_px), source, group=path.stem.split("_")[0])
            yield field
    note_orphans(masks.items(), (path.stem for path in paths), source, faults)


def mask_centroids(path: Path, source: SourceConfig) -> NDArray[np.float64]:
    """Centres of gravity of a mask's nuclei, ``(N, 2)`` continuous x, y."""
    stored = _read_mask(path, bilevel=source.masks != "instances")
    if source.masks == "instances":
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


def _mask_paths(folder: Path) -> dict[str, Path]:
    """Mask of each image's name."""
    if not folder.is_dir():
        raise AnnotationError(f"there is no folder {folder}; put the masks there")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in MASK_SUFFIXES)
    return {path.stem.removesuffix("_mask"): path for path in paths}


def _disc(radius_px: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.asarray(x**2 + y**2 <= radius_px**2)
