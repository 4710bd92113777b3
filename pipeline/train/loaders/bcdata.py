"""BCData: PNG images, one HDF5 table of x, y per class; the official layout or one flat folder."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import (
    image_field,
    image_paths,
    note_orphans,
    split_folders,
    without_annotation,
)
from pipeline.train.loaders.marks import Marks

CLASSES = (("positive", POSITIVE), ("negative", NEGATIVE))


def load_bcdata(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images/[SPLIT/]N.png`` with ``annotations/[SPLIT/]{positive,negative}/N.h5``.

    Images with neighbouring numbers may show one slide: ``group_size`` of them are a group.
    """
    for split, images in split_folders(folder / "images", source):
        prefix = f"{split}-" if split and source.split is None else ""
        paths = image_paths(images, source)
        for path in paths:
            with faults.gathered():
                marks = _marks(folder / "annotations" / split, path.stem)
                group = f"{prefix}{_block(path.stem, source.group_size)}"
                yield image_field(path, marks, source, group=group, name=prefix + path.stem)
        tables = (folder / "annotations" / split).glob("*/*.h5")
        note_orphans(
            ((table.stem, table) for table in tables), (p.stem for p in paths), source, faults
        )


def _block(stem: str, size: int) -> str:
    return f"block-{int(stem) // size}" if stem.isdigit() else f"block-{stem}"


def _marks(annotations: Path, stem: str) -> Marks:
    parts, labels = [], []
    for word, label in CLASSES:
        path = annotations / word / f"{stem}.h5"
        try:
            with h5py.File(path) as stored:
                xy = np.asarray(stored["coordinates"], np.float64).reshape(-1, 2)
        except FileNotFoundError as error:
            raise without_annotation(path) from error
        except (OSError, KeyError, ValueError) as error:
            raise AnnotationError(
                f"{path}: no table 'coordinates' of x, y ({error}); copy the file again"
            ) from error
        parts.append(xy)
        labels.append(np.full(len(xy), label, np.uint8))
    # stored coordinates are pixel indices: the pixel's centre is half a pixel further
    return Marks(np.concatenate(parts) + 0.5, np.concatenate(labels), np.empty((0, 2)))
