"""Annotated fields of a source, whatever form it is stored in."""

import zlib
from collections import Counter
from pathlib import Path

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders import LOADERS
from pipeline.train.loaders.faults import Faults
from pipeline.train.recolour import recoloured

_SEEDS = 2**20
_MAY_BE_A_FILE = frozenset({"points", "paper_points"})


def load_fields(source: SourceConfig, *, data: Path = Path()) -> list[Field]:
    """Read every field of a source, ordered by name.

    Parameters
    ----------
    source
        Its relative path starts from ``data``.
    data
        Folder of the data sets.

    Raises
    ------
    AnnotationError
        A folder, an image or an annotation is missing, unreadable or contradictory. All of the
        source's faults are looked for first: the line gives the first few and their number.
    """
    place = data / (source.path or "")
    if source.kind != "synthetic":
        _check_place(place, source)
    faults = Faults()
    fields = list(LOADERS[source.kind](place, source, faults))
    faults.refuse(source.name)
    if not fields:
        raise AnnotationError(f"source {source.name!r}: no image in {place} fits its patterns")
    _refuse_equal_names(source, fields)
    if source.recolour:
        seeds = range(source.seed, source.seed + source.recolour)
        fields = [_recoloured(field, seed) for field in fields for seed in seeds]
    return fields


def _refuse_equal_names(source: SourceConfig, fields: list[Field]) -> None:
    """Figures, candidates and pictures are kept by name."""
    name, number = Counter(field.name for field in fields).most_common(1)[0]
    if number > 1:
        raise AnnotationError(
            f"source {source.name!r}: {number} fields are named {name!r}; rename or exclude one"
        )


def _recoloured(field: Field, seed: int) -> Field:
    # the field's own part of the seed: two fields of one variant do not share their chance
    own = zlib.crc32(field.name.encode()) % _SEEDS
    return recoloured(field, seed=seed * _SEEDS + own)


def _check_place(place: Path, source: SourceConfig) -> None:
    if place.is_dir() and source.kind != "paper_points":
        return
    if place.is_file() and source.kind in _MAY_BE_A_FILE:
        return
    wanted = "file" if source.kind == "paper_points" else "folder"
    raise AnnotationError(f"source {source.name!r}: there is no {wanted} {place}")
