"""Loaders of annotated fields: one file per format, found by the ``kind`` of a source."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipeline.train.config import Kind, SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.bcdata import load_bcdata
from pipeline.train.loaders.brca_m2c import load_brca_m2c
from pipeline.train.loaders.conic import load_conic
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.masks import load_masks
from pipeline.train.loaders.matlab import load_ccrcc, load_psu, load_uw
from pipeline.train.loaders.paper import load_paper
from pipeline.train.loaders.qupath import load_qupath
from pipeline.train.loaders.shidc import load_shidc
from pipeline.train.loaders.synthetic import load_synthetic
from pipeline.train.loaders.table import load_table

Loader = Callable[[Path, SourceConfig, Faults], Iterator[Field]]
"""Reads a folder's fields one by one; what is wrong with one of them goes to the faults."""

LOADERS: Mapping[Kind, Loader] = {
    "bcdata": load_bcdata,
    "shidc": load_shidc,
    "points": load_table,
    "synthetic": load_synthetic,
    "qupath": load_qupath,
    "masks": load_masks,
    "uw": load_uw,
    "brca_m2c": load_brca_m2c,
    "conic": load_conic,
    "ccrcc": load_ccrcc,
    "psu": load_psu,
    "paper_points": load_paper,
}
"""How each kind of source is read."""
