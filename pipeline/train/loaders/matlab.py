"""Sets whose annotations are MATLAB files: CRCHistoPhenotypes (UW), PSU and ccRCC Grading."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import matlab
from scipy.spatial import KDTree

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
from pipeline.train.loaders.marks import cells_of, classed_cells
from pipeline.train.loaders.masks import instance_centroids

MATLAB_CORNER = 0.5
"""MATLAB counts pixels from 1, with centres at whole numbers; our first centre is at 0.5. On the
real set nuclei are darkest one pixel up and left of where counting from 0 would put them."""
SAME_MARK_PX = 3.0
INSTANCE_KEYS = ("inst_map", "instance_map")


def load_uw(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images/imgN.png`` with ``annotations/imgN_detection.mat``, or the set's own folders.

    Those are ``Detection/imgN/imgN.bmp`` with ``imgN_detection.mat`` beside it. Every nucleus is
    marked, without a class of the index. Patients are not published: an image is a group.

    A source whose ``labels`` name some of the set's classes (``fibroblast = "other"``) gets that
    meaning for the nuclei in ``imgN_CLASS.mat``; a quarter of the nuclei is in no class.
    """
    official = (folder / "Detection").is_dir()
    if official:
        homes = [(home, home) for home in sorted((folder / "Detection").iterdir()) if home.is_dir()]
    else:
        homes = [(folder / "images", folder / "annotations")]
    for images, tables in homes:
        paths = image_paths(images, source)
        for path in paths:
            with faults.gathered():
                xy = _table(tables / f"{path.stem}_detection.mat", "detection")
                classes = folder / "Classification" / path.stem if official else tables
                words = _uw_words(xy, classes / path.stem, source)
                yield _uw_field(path, xy - MATLAB_CORNER, words, source)
        stored = (
            (table.stem.removesuffix("_detection"), table)
            for table in tables.glob("*_detection.mat")
        )
        note_orphans(stored, (path.stem for path in paths), source, faults)


def load_psu(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read images with a MATLAB or text table of x, y of the same name, beside them or in labels/.

    Every nucleus is marked, without a class. Coordinates count from 1 in MATLAB files, from 0 in
    text.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    tables = folder / "labels" if (folder / "labels").is_dir() else images
    for path in image_paths(images, source):
        with faults.gathered():
            text = tables / f"{path.stem}.txt"
            if text.is_file():
                xy = _text_table(text) + 0.5
            else:
                xy = _table(tables / f"{path.stem}.mat", None) - MATLAB_CORNER
            yield image_field(path, cells_of(xy), source, group=path.stem)


def load_ccrcc(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``images/[SPLIT/]NAME.png`` with the nuclei's numbers in ``labels/[SPLIT/]NAME.mat``.

    The number image is the variable ``inst_map`` or ``instance_map``; grades are left aside.
    """
    for split, images in split_folders(folder / "images", source):
        for path in image_paths(images, source):
            with faults.gathered():
                table = folder / "labels" / split / f"{path.stem}.mat"
                numbers = _numbers(table)
                xy = instance_centroids(numbers, min_area_px=source.min_area_px)
                prefix = f"{split}-" if split and source.split is None else ""
                name = prefix + path.stem
                yield image_field(path, cells_of(xy), source, group=name, name=name)


def _uw_field(
    path: Path, xy: NDArray[np.float64], words: Sequence[str], source: SourceConfig
) -> Field:
    # a few marks lie on the border and a rounding beyond it
    close = np.where((xy < 0) & (xy > -1), 0.0, xy)
    return image_field(path, classed_cells(close, words, source.labels), source, group=path.stem)


def _uw_words(xy: NDArray[np.float64], stem: Path, source: SourceConfig) -> list[str]:
    """Give the class of each nucleus, of those classes that the source names."""
    words = np.full(len(xy), "cell", object)
    for word in source.labels:
        marked = _table(stem.with_name(f"{stem.name}_{word}.mat"), "detection")
        if len(marked) and len(xy):
            # the tables of classes repeat the marks of the table of all nuclei
            words[KDTree(marked).query(xy)[0] < SAME_MARK_PX] = word
    return [str(word) for word in words]


def _load(path: Path) -> Mapping[str, Any]:
    try:
        stored: Mapping[str, Any] = matlab.loadmat(path)
    except FileNotFoundError as error:
        raise without_annotation(path) from error
    except (OSError, ValueError, TypeError, NotImplementedError, matlab.MatReadError) as e:
        raise AnnotationError(f"{path}: cannot be read as MATLAB ({e}); copy it again") from e
    return {name: value for name, value in stored.items() if not name.startswith("__")}


def _table(path: Path, name: str | None) -> NDArray[np.float64]:
    """Read the ``(N, 2)`` table of a name, or the only one there is."""
    stored = _load(path)
    if name is None:
        tables = [key for key, value in stored.items() if np.ndim(value) == 2]
        name = tables[0] if len(tables) == 1 else "detection"
    table = np.asarray(stored.get(name, np.empty(0)))
    if name in stored and not table.size:  # MATLAB stores no rows as 0 x 0
        return np.empty((0, 2))
    if table.ndim != 2 or table.shape[1] != 2 or not np.issubdtype(table.dtype, np.number):
        raise AnnotationError(
            f"{path}: no table {name!r} of x, y; it holds {', '.join(stored) or 'nothing'}"
        )
    return table.astype(np.float64)


def _text_table(path: Path) -> NDArray[np.float64]:
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").split()
        return np.array(words, np.float64).reshape(-1, 2)
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: is no table of x, y ({error}); correct it") from error


def _numbers(path: Path) -> NDArray[np.integer]:
    stored = _load(path)
    for key in INSTANCE_KEYS:
        if key in stored and np.ndim(stored[key]) == 2:
            return np.asarray(stored[key]).astype(np.int64)
    raise AnnotationError(
        f"{path}: no image {' or '.join(INSTANCE_KEYS)}; it holds {', '.join(stored) or 'nothing'}"
    )
