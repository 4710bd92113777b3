"""CoNIC: all images in one array, all numbered nuclei in another; read as they are needed."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import wanted
from pipeline.train.loaders.marks import cells_of
from pipeline.train.loaders.masks import instance_centroids

INSTANCES = 0
"""Channel of ``labels.npy`` that numbers the nuclei; the other holds H&E cell types."""


def load_conic(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images.npy`` (N, H, W, 3) with ``labels.npy`` (N, H, W, 2); nuclei have no class.

    ``patch_info.csv`` names the images; those cut from one picture (the name up to the last
    ``-``) are a group. Without it an image is ``conic-NUMBER`` and a group of its own.
    """
    images, labels = _array(folder / "images.npy", 3), _array(folder / "labels.npy", 2)
    if len(images) != len(labels) or images.shape[1:3] != labels.shape[1:3]:
        raise AnnotationError(
            f"{folder}: images {images.shape} and labels {labels.shape} do not belong together; "
            "copy both again"
        )
    names = _names(folder / "patch_info.csv", len(images))
    for number, (name, group) in enumerate(names):
        if not wanted(name, source):
            continue
        with faults.gathered():
            numbers = np.asarray(labels[number, :, :, INSTANCES])
            xy_px = instance_centroids(numbers, min_area_px=source.min_area_px)
            marks = cells_of(xy_px)
            picture = np.asarray(images[number])
            yield Field(
                name,
                group,
                picture,
                marks.xy_px[:, 0],
                marks.xy_px[:, 1],
                marks.label,
                source.image_mpp_um,
            )


def _array(path: Path, channels: int) -> NDArray[np.integer]:
    try:
        # mapped, not read: the images alone are a gigabyte
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: cannot be read ({error}); copy it again") from error
    if array.ndim != 4 or array.shape[3] != channels:
        raise AnnotationError(
            f"{path}: holds {array.shape}; (N, H, W, {channels}) is needed, so copy the set's own"
        )
    return np.asarray(array)


def _names(path: Path, count: int) -> list[tuple[str, str]]:
    """Name and group of each image."""
    if not path.is_file():
        numbered = (f"conic-{number:04d}" for number in range(count))
        return [(name, name) for name in numbered]
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    if len(rows) != count:
        raise AnnotationError(f"{path}: names {len(rows)} of {count} images; copy it again")
    return [(row[0], row[0].rpartition("-")[0] or row[0]) for row in rows]
