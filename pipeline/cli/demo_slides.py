"""The slides of the demonstration: made once, with known cells, and found again later."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import click

from pipeline.config import digest
from pipeline.core.points import CellPoints
from pipeline.errors import AnnotationError, ConfigError
from pipeline.io.cells import read_cells
from pipeline.io.files import make_folder
from pipeline.io.mosaic import MosaicField, read_mosaic_fields, write_mosaic_slide
from pipeline.io.synthetic import SyntheticSlide, unseen_seed, write_synthetic_slide
from pipeline.model.card import ModelCard
from pipeline.train.config import SourceConfig, data_folder

DATA_VARIABLE = "KI67_DATA"


@dataclass(frozen=True, slots=True)
class DemoSlide:
    """A slide whose cells are known.

    Attributes
    ----------
    title
        What it shows, for a heading.
    """

    title: str
    path: Path

    def known_cells(self) -> CellPoints:
        """Read its cells, level-0 pixels."""
        return read_cells(_truth(self.path, "parquet"))


def synthetic_slide(folder: Path, size_px: int, seed: int, workers: int) -> DemoSlide:
    """Write a synthetic slide with the demonstration's ranges, unless it is there already.

    Training never draws from these ranges, nor from these seeds.
    """
    path = folder / f"synthetic-{size_px}-{seed}.tif"
    if not _made(path):
        make_folder(folder)
        click.echo(f"making {path.name}: {size_px} x {size_px} px with known cells", err=True)
        slide = SyntheticSlide(unseen_seed(seed), size_px, size_px)
        write_synthetic_slide(path, slide, workers=workers)
    return DemoSlide("synthetic slide, every cell known", path)


def real_slides(folder: Path, card: ModelCard) -> tuple[list[DemoSlide], list[str]]:
    """Lay out the real fields that the card names as held out, one slide a source.

    Returns
    -------
    The slides, and a sentence for each thing that is missing.
    """
    sources = card.training.get("held_out") or []
    if not sources:
        return [], [f"no real fields: the card of {card.name} names none held out"]
    if not os.environ.get(DATA_VARIABLE):
        return [], [f"no real fields: set {DATA_VARIABLE} to the folder that holds them"]
    slides, missing = [], []
    for stored in sources:
        source = SourceConfig.model_validate(stored)
        if source.recolour:
            missing.append(f"no real fields: those of {source.name} are of another stain")
            continue
        try:
            slides.append(_mosaic(folder, source))
        except (ConfigError, AnnotationError) as error:
            missing.append(f"no real fields: {error}")
    return slides, missing


def _mosaic(folder: Path, source: SourceConfig) -> DemoSlide:
    fields = _fields(source)
    # another choice of fields is another slide
    path = folder / f"fields-{source.name}-{digest(source.model_dump(mode='json'))[:8]}.tif"
    if not _made(path):
        make_folder(folder)
        click.echo(f"making {path.name}: {len(fields)} real fields", err=True)
        write_mosaic_slide(path, fields, field_mpp_um=source.image_mpp_um)
    title = f"{len(fields)} real fields of {source.name} that the network never saw"
    return DemoSlide(title, path)


def _fields(source: SourceConfig) -> list[MosaicField]:
    folder = data_folder() / (source.path or "")
    if not (folder / "points.csv").is_file():
        raise AnnotationError(f"{source.name}: there is no {source.path}/points.csv")
    return [
        field
        for field in read_mosaic_fields(folder, source.include)
        if not any(fnmatchcase(field.path.stem, pattern) for pattern in source.exclude)
    ]


def _made(path: Path) -> bool:
    # the record is written last
    return path.is_file() and _truth(path, "json").is_file()


def _truth(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}.truth.{ending}")
