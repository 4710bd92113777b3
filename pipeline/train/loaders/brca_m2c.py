"""BRCA-M2C: PNG images, a text table of y, x and class number per image."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import (
    image_field,
    image_paths,
    note_orphans,
    without_annotation,
)
from pipeline.train.loaders.marks import classed_cells

SUFFIX = "_gt_class_coords"
CLASSES = ("lymphocyte", "tumor_epithelial", "stromal")
"""The words of the set's numbers 1, 2, 3: in H&E none is a class of the index."""
_BARCODE_PARTS = 3


def load_brca_m2c(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images/NAME.png`` with ``labels/NAME_gt_class_coords.txt``; nuclei have no class.

    A source whose ``labels`` say what ``lymphocyte``, ``tumor_epithelial`` or ``stromal`` stand for
    gets that; every other nucleus is a cell.
    ``split`` (train, val, test) takes the images that ``brca_ds_SPLIT.txt`` lists. Images of one
    patient (TCGA barcode) are a group.
    """
    listed = _listed(folder, source.split)
    paths = image_paths(folder / "images", source)
    for path in paths:
        if listed is not None and path.name not in listed:
            continue
        with faults.gathered():
            rows = _table(folder / "labels" / f"{path.stem}{SUFFIX}.txt")
            words = [CLASSES[int(number) - 1] for number in rows[:, 2]]
            marks = classed_cells(rows[:, 1::-1] + 0.5, words, source.labels)
            patient = "-".join(path.stem.split("-")[:_BARCODE_PARTS])
            yield image_field(path, marks, source, group=patient)
    stored = (
        (table.stem.removesuffix(SUFFIX), table)
        for table in (folder / "labels").glob(f"*{SUFFIX}.txt")
    )
    note_orphans(stored, (path.stem for path in paths), source, faults)


def _listed(folder: Path, split: str | None) -> frozenset[str] | None:
    if split is None:
        return None
    path = folder / f"brca_ds_{split}.txt"
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise AnnotationError(f"{path}: no such split; there are train, val and test") from error


def _table(path: Path) -> NDArray[np.float64]:
    """Read ``(N, 3)`` y, x and class number."""
    try:
        words = path.read_text(encoding="utf-8").split()
        rows = np.array(words, np.float64).reshape(-1, 3)
    except FileNotFoundError as error:
        raise without_annotation(path) from error
    except (OSError, ValueError) as error:
        raise AnnotationError(
            f"{path}: is no table of y, x, class ({error}); correct it"
        ) from error
    unknown = ~np.isin(rows[:, 2], range(1, len(CLASSES) + 1))
    if unknown.any():
        number = int(np.argmax(unknown))
        raise AnnotationError(
            f"{path}: row {number + 1} has unknown class {rows[number, 2]:g}; use 1-3"
        )
    return rows
