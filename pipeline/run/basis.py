"""What a slide's scores are made from, kept with its results: no slide, no model needed again."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.points import CellPoints
from pipeline.core.qc.judge import MeasuredSlide
from pipeline.core.tiling import Box
from pipeline.errors import OutputError
from pipeline.io.cells import read_cells
from pipeline.io.files import read_json, short_name, write_json_atomic
from pipeline.io.pictures import save_picture
from pipeline.io.quality import QUALITY_NAME, read_quality
from pipeline.model.card import ModelCard
from pipeline.run.plan import (
    Plan,
    StaleWorkError,
    Tissue,
    read_plan,
    read_tissue,
    write_plan,
    write_tissue,
)
from pipeline.run.settle import SettledSlide

BASIS_NAME = "basis"
CELLS_NAME = "cells.parquet"
CANDIDATES_NAME = "candidates.parquet"

_MODEL_NAME = "model.json"
_UNREADABLE_NAME = "unreadable.json"
_PICTURE_NAME = "picture.jpg"


@dataclass(frozen=True, slots=True, eq=False)
class SlideBasis:
    """Everything that prediction left of a slide."""

    card: ModelCard
    weights_sha256: str
    plan: Plan
    tissue: Tissue
    settled: SettledSlide
    measured: MeasuredSlide
    """What its quality is judged from."""


def keep_basis(folder: Path, basis: SlideBasis) -> SlideBasis:
    """Write ``folder/basis`` and return the basis as :func:`read_basis` will give it.

    The peaks are not in it: cells and candidates together are the peaks. Nor are the measures of
    quality, which stand beside it.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    inner = folder / BASIS_NAME
    # what differs between two runs of the same slide must not be in a result file
    plan = replace(basis.plan, region_tiles=1, regions=(), started="")
    write_plan(inner, plan)
    write_tissue(inner, replace(basis.tissue, thumbnail=np.empty((0, 0, 3), np.uint8)))
    write_model(folder, basis)
    boxes = [[box.x0, box.y0, box.x1, box.y1] for box in basis.settled.unreadable]
    write_json_atomic(inner / _UNREADABLE_NAME, {"boxes_px": boxes})
    save_picture(inner / _PICTURE_NAME, Image.fromarray(basis.tissue.thumbnail), quality=90)
    # a picture drawn now and one drawn at a later scoring start from the same pixels
    return replace(basis, tissue=_with_picture(basis.tissue, inner))


def write_model(folder: Path, basis: SlideBasis) -> None:
    """Write the model's card below ``folder/basis``; a later scoring needs no model folder."""
    write_json_atomic(
        folder / BASIS_NAME / _MODEL_NAME,
        {"card": basis.card.model_dump(mode="json"), "weights_sha256": basis.weights_sha256},
    )


def read_basis(folder: Path) -> SlideBasis:
    """Read what a finished slide is scored from.

    Raises
    ------
    OutputError
        It is missing or damaged, or an earlier version of the program made the results.
    """
    inner = folder / BASIS_NAME
    card, weights_sha256, plan = read_model(folder)
    try:
        boxes = read_json(inner / _UNREADABLE_NAME)["boxes_px"]
        tissue = _with_picture(read_tissue(inner), inner)
        parts = [read_cells(folder / name) for name in (CELLS_NAME, CANDIDATES_NAME)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(folder, error) from error
    measured, _ = read_quality(folder / QUALITY_NAME)
    return SlideBasis(card, weights_sha256, plan, tissue, _settled(parts, boxes), measured)


def read_model(folder: Path) -> tuple[ModelCard, str, Plan]:
    """Read only the model's card, the sha256 of its weights and the plan of a finished slide.

    Raises
    ------
    OutputError
        See :func:`read_basis`.
    """
    inner = folder / BASIS_NAME
    try:
        model = read_json(inner / _MODEL_NAME)
        card = ModelCard.model_validate(model["card"])
        return card, str(model["weights_sha256"]), read_plan(inner)
    except (OSError, ValueError, KeyError, TypeError, StaleWorkError) as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{short_name(folder)}: cannot be scored again, {BASIS_NAME}/ is missing, damaged or of an "
        f"earlier version ({type(error).__name__}); run the same `ki67 run` again"
    )


def _settled(parts: Sequence[CellPoints], boxes: Sequence[Sequence[int]]) -> SettledSlide:
    points = CellPoints.concatenate(parts).sorted()
    return SettledSlide(points, tuple(Box(*map(int, box)) for box in boxes))


def _with_picture(tissue: Tissue, inner: Path) -> Tissue:
    with Image.open(io.BytesIO((inner / _PICTURE_NAME).read_bytes()), formats=["JPEG"]) as picture:
        return replace(tissue, thumbnail=np.asarray(picture.convert("RGB")))
