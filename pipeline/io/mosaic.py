"""A slide made of annotated fields: real images set on glass, with the cells people marked.

The fields lie on a grid with random offsets, so the seams of regions and tiles cut through them
wherever they fall. Only positive and negative cells enter the truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.resampling import AxisTaps, axis_taps, resample
from pipeline.errors import AnnotationError, ConfigError
from pipeline.io.mosaic_fields import MosaicField, open_image, read_mosaic_fields
from pipeline.io.pyramid import write_pyramid
from pipeline.io.synthetic.truth import SlideTruth, true_points, write_truth

__all__ = ["MosaicField", "read_mosaic_fields", "write_mosaic_slide"]

U8 = NDArray[np.uint8]

GLASS = (242, 241, 239)
GAP_PX = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A field with its place on the slide, level-0 px."""

    field: MosaicField
    left: int
    top: int
    width: int
    height: int
    scale: float  # level-0 px per px of the stored image


def write_mosaic_slide(
    path: Path,
    fields: Sequence[MosaicField],
    *,
    seed: int = 0,
    mpp_um: float = 0.25,
    field_mpp_um: float = 0.25,
    glass: tuple[int, int, int] = GLASS,
    quality: int = 90,
    on_rows: Callable[[int], None] | None = None,
) -> SlideTruth:
    """Write a slide that shows every field once, and its truth beside it.

    Parameters
    ----------
    path : Path
        Slide to write, `.tif` or `.svs`.
    fields : sequence of MosaicField
        From `read_mosaic_fields`.
    seed : int
        Chooses order and offsets.
    mpp_um, field_mpp_um : float
        um per pixel of the slide and of the stored images; images are resampled when they differ.
    glass : tuple of int
        Colour between the fields.
    quality : int
        JPEG quality, 1..100.
    on_rows : callable, optional
        Called with the number of rows finished since the last call.

    Raises
    ------
    AnnotationError
        No field, or an image that cannot be read.
    ConfigError
        Resolutions that cannot be resampled.
    OutputError
        The folder cannot be written.
    """
    if not fields:
        raise AnnotationError("no fields to set into a slide; name at least one image")
    if not 0.1 <= field_mpp_um / mpp_um <= 10:
        raise ConfigError(f"mpp {mpp_um} and field mpp {field_mpp_um} um/px differ too much")
    placed, width, height = _lay_out(fields, seed, field_mpp_um / mpp_um)
    reader = _RowReader(placed, width, glass, on_rows)
    write_pyramid(path, width, height, mpp_um, reader, quality=quality, fill=glass)
    facts = {
        "kind": "mosaic",
        "seed": seed,
        "width": width,
        "height": height,
        "mpp_um": mpp_um,
        "field_mpp_um": field_mpp_um,
        "fields": [_place_record(one) for one in placed],
    }
    x_l0 = np.concatenate([one.left + one.field.x_px * one.scale for one in placed])
    y_l0 = np.concatenate([one.top + one.field.y_px * one.scale for one in placed])
    label = np.concatenate([one.field.label for one in placed])
    order = np.lexsort((x_l0, y_l0))
    return write_truth(path, true_points(x_l0[order], y_l0[order], label[order]), facts)


def _place_record(one: _Placed) -> dict[str, object]:
    return {
        "image": one.field.path.name,
        "left": one.left,
        "top": one.top,
        "width": one.width,
        "height": one.height,
        "cells": int(one.field.label.size),
    }


def _lay_out(
    fields: Sequence[MosaicField], seed: int, scale: float
) -> tuple[list[_Placed], int, int]:
    """Place the fields on a square grid, each at a random offset in its own cell."""
    rng = np.random.default_rng((seed, 31))
    order = rng.permutation(len(fields))
    sizes = [_scaled_size(fields[index].path, scale) for index in order]
    pitch_x = max(width for width, _ in sizes) + GAP_PX
    pitch_y = max(height for _, height in sizes) + GAP_PX
    columns = int(np.ceil(np.sqrt(len(fields))))
    placed = []
    for place, (index, (width, height)) in enumerate(zip(order, sizes, strict=True)):
        row, column = divmod(place, columns)
        left = GAP_PX + column * pitch_x + int(rng.integers(0, pitch_x - width - 16))
        top = GAP_PX + row * pitch_y + int(rng.integers(0, pitch_y - height - 16))
        placed.append(_Placed(fields[index], left, top, width, height, scale))
    rows = -(-len(fields) // columns)
    return placed, GAP_PX + columns * pitch_x, GAP_PX + rows * pitch_y


def _scaled_size(path: Path, scale: float) -> tuple[int, int]:
    with open_image(path) as image:
        return max(1, round(image.width * scale)), max(1, round(image.height * scale))


class _RowReader:
    """Rows of the mosaic from top to bottom; an image is held while its rows are asked for."""

    def __init__(
        self,
        placed: Sequence[_Placed],
        width: int,
        glass: tuple[int, int, int],
        on_rows: Callable[[int], None] | None,
    ) -> None:
        self._placed = placed
        self._width = width
        self._glass = np.asarray(glass, np.uint8)
        self._on_rows = on_rows
        self._held: dict[int, U8] = {}

    def __call__(self, top: int, count: int) -> U8:
        rows = np.empty((count, self._width, 3), np.uint8)
        rows[:] = self._glass
        for index, one in enumerate(self._placed):
            first, last = max(top, one.top), min(top + count, one.top + one.height)
            if first >= last:
                self._held.pop(index, None)
                continue
            if index not in self._held:
                self._held[index] = _level0_image(one)
            part = self._held[index][first - one.top : last - one.top]
            rows[first - top : last - top, one.left : one.left + one.width] = part
        if self._on_rows is not None:
            self._on_rows(count)
        return rows


def _level0_image(one: _Placed) -> U8:
    """Pixels of a field at the slide's resolution, uint8 (height, width, 3)."""
    with open_image(one.field.path) as stored:
        image = np.asarray(stored.convert("RGB"))
    if one.scale == 1.0:
        return image
    taps_y = axis_taps(0, one.height, origin=0.0, scale=1.0 / one.scale)
    taps_x = axis_taps(0, one.width, origin=0.0, scale=1.0 / one.scale)
    rows, columns = _sources(taps_y, image.shape[0]), _sources(taps_x, image.shape[1])
    return np.asarray(resample(image[np.ix_(rows, columns)], taps_y, taps_x))


def _sources(taps: AxisTaps, length: int) -> NDArray[np.intp]:
    """Source pixels an axis needs; beyond the image its border pixel is repeated."""
    return np.clip(np.arange(taps.first, taps.first + taps.count), 0, length - 1)
