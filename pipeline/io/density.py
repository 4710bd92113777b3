"""Cells per bin of a slide as OME-Zarr pyramids: counts of each label and the labelling index."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.errors import OutputError
from pipeline.io.cells import check_finite
from pipeline.io.files import atomic_folder, short_name
from pipeline.io.ome import (
    CHANNEL_COLOURS,
    OTHER_COLOUR,
    Channel,
    Levels,
    OmeZarrVersion,
    create_image,
    create_level,
    ome_attributes,
)

BIN_UM = 50.0
"""Side of a bin: about a hundred nuclei of dense tissue, small beside a hotspot."""

COUNTS_NAME = "counts.ome.zarr"
INDEX_NAME = "index.ome.zarr"
INDEX_SHOWN_PCT = 50.0
"""Viewers draw this index and all above it in the full colour, the same on every slide."""

_CHUNK_BINS = 512
_COARSEST_BINS = 32
"""Levels are halved until their longer side is no more: scales from 50 um to about a millimetre."""


@dataclass(frozen=True, slots=True, eq=False)
class DensityMap:
    """Cells per bin.

    Attributes
    ----------
    counts
        uint32 ``(2, height, width)``: positive, negative.
    frame
        Places the bins on level 0.
    bin_um
        Side of a bin, micrometres.
    """

    counts: NDArray[np.uint32]
    frame: PlaneFrame
    bin_um: float

    @property
    def index_pct(self) -> NDArray[np.float32]:
        """Labelling index of each bin, NaN where there is no cell."""
        return index_pct(self.counts)


def bin_cells(points: CellPoints, frame: PlaneFrame) -> NDArray[np.uint32]:
    """Count cells per bin, uint32 ``(2, height, width)``: positive, negative.

    Parameters
    ----------
    points
        Level-0 pixels; cells on the frame's far border count in its last bin.
    frame
        Of the bins.

    Raises
    ------
    ValueError
        A cell is nowhere (NaN, infinity) or outside the frame by more than a bin.
    """
    check_finite(points)
    x, y = frame.from_l0(points.x_l0, points.y_l0)
    col, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    outside = (col < -1) | (row < -1) | (col > frame.width) | (row > frame.height)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"cell {first} at ({points.x_l0[first]:.1f}, {points.y_l0[first]:.1f}) is outside "
            f"the {frame.width} x {frame.height} bins of the slide"
        )
    col, row = np.clip(col, 0, frame.width - 1), np.clip(row, 0, frame.height - 1)
    channel = np.where(points.label == POSITIVE, 0, 1)
    flat = (channel * frame.height + row) * frame.width + col
    counts = np.bincount(flat, minlength=2 * frame.height * frame.width)
    return counts.reshape(2, frame.height, frame.width).astype(np.uint32)


def summed(counts: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Counts of bins twice as wide: sums of 2 x 2, an odd last row or column alone."""
    for axis in (1, 2):
        starts = np.arange(0, counts.shape[axis], 2)
        counts = np.add.reduceat(counts, starts, axis=axis, dtype=np.uint32)
    return counts


def index_pct(counts: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Labelling index of each bin in percent, NaN where there is no cell."""
    total = counts.sum(axis=0, dtype=np.float64)
    index = np.full(total.shape, np.nan)
    np.divide(100.0 * counts[0], total, out=index, where=total > 0)
    return index.astype(np.float32)


def density_frame(plane: PlaneFrame, *, mpp_um: float, bin_um: float = BIN_UM) -> PlaneFrame:
    """Frame of the bins over a model plane of ``mpp_um`` micrometres per pixel."""
    if not (bin_um > 0 and mpp_um > 0):
        raise ValueError(f"bin_um={bin_um} and mpp_um={mpp_um} must be positive")
    per_bin = bin_um / mpp_um
    return PlaneFrame(
        plane.origin_x_l0,
        plane.origin_y_l0,
        plane.scale_x * per_bin,
        plane.scale_y * per_bin,
        max(1, math.ceil(plane.width / per_bin - 1e-9)),
        max(1, math.ceil(plane.height / per_bin - 1e-9)),
    )


def write_density(
    path: Path,
    points: CellPoints,
    *,
    frame: PlaneFrame,
    mpp_um: float,
    bin_um: float = BIN_UM,
    ome_zarr: OmeZarrVersion = "0.5",
) -> None:
    """Write the folder ``path`` (``density``): a Zarr group of two OME-Zarr images.

    ``counts.ome.zarr`` is uint32 ``(label, y, x)``, positive then negative; ``index.ome.zarr`` is
    float32 ``(1, y, x)``, percent, NaN where no cell is. Each level's bins are twice as wide as
    those of the level below: counts are summed, and the index is that of the sums, for a mean of
    indices would weigh an empty corner like a crowded one. The group's attributes hold the bin's
    side in micrometres and its corner and side on level 0.

    Parameters
    ----------
    path
        Replaced whole.
    points
        Cells in level-0 pixels.
    frame
        Of the model plane.
    mpp_um
        Micrometres per pixel of that plane.
    bin_um
        Side of a bin of level 0.
    ome_zarr
        Version of the standard.

    Raises
    ------
    ValueError
        A cell is nowhere or outside the plane, or a size is not positive.
    OutputError
        The folder cannot be written.
    """
    bins = density_frame(frame, mpp_um=mpp_um, bin_um=bin_um)
    pyramid = [bin_cells(points, bins)]
    while max(pyramid[-1].shape[1:]) > _COARSEST_BINS:
        pyramid.append(summed(pyramid[-1]))
    slide_mpp = mpp_um / frame.scale_x, mpp_um / frame.scale_y
    origin_um = frame.origin_x_l0 * slide_mpp[0], frame.origin_y_l0 * slide_mpp[1]
    levels = Levels(len(pyramid), bin_um, origin_um, slide_mpp)
    crowded = max(1.0, float(pyramid[0].max()))
    with atomic_folder(path) as partial:
        store = LocalStore(partial)
        create_image(store, _attributes(bins, bin_um), ome_zarr)
        channels = [
            Channel(name, colour, float(2**32 - 1), crowded)
            for name, colour in CHANNEL_COLOURS.items()
        ]
        kind = "sum over bins of 2 x 2"
        _write_image(store, COUNTS_NAME, pyramid, levels, channels, ome_zarr, kind)
        indices = [index_pct(counts)[None] for counts in pyramid]
        channels = [Channel("Ki-67 index %", OTHER_COLOUR, 100.0, INDEX_SHOWN_PCT)]
        kind = "index of the cells summed over bins of 2 x 2"
        _write_image(store, INDEX_NAME, indices, levels, channels, ome_zarr, kind)


def read_density(path: Path, level: int = 0) -> DensityMap:
    """Read the counts of a level of what :func:`write_density` wrote.

    Raises
    ------
    OutputError
        There is no such group or level at ``path``.
    """
    try:
        group = zarr.open_group(LocalStore(path, read_only=True), mode="r")
        image = group[COUNTS_NAME]
        counts = np.asarray(image[str(level)], dtype=np.uint32)  # type: ignore[index]
        kept: dict[str, Any] = dict(group.attrs)
        (x_l0, y_l0), (side_x, side_y) = kept["origin_l0"], kept["bin_l0"]
        bin_um = float(kept["bin_um"]) * 2**level
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{short_name(path)}: no level {level} of a density map here; "
            "`ki67 export OUT --zarr` makes one from the cells"
        ) from error
    height, width = counts.shape[1:]
    step = 2**level
    frame = PlaneFrame(x_l0, y_l0, side_x * step, side_y * step, width, height)
    return DensityMap(counts, frame, bin_um)


def _attributes(bins: PlaneFrame, bin_um: float) -> dict[str, Any]:
    return {
        "bin_um": bin_um,
        "labels": ["positive", "negative"],
        "origin_l0": [bins.origin_x_l0, bins.origin_y_l0],
        "bin_l0": [bins.scale_x, bins.scale_y],
        "axes_of_origin_and_bin": ["x", "y"],
    }


def _write_image(
    store: LocalStore,
    name: str,
    pyramid: list[NDArray[Any]],
    levels: Levels,
    channels: list[Channel],
    version: OmeZarrVersion,
    kind: str,
) -> None:
    attributes = ome_attributes(name, version, levels, channels, kind=kind)
    create_image(store, attributes, version, name)
    for level, values in enumerate(pyramid):
        array = create_level(
            store,
            f"{name}/{level}",
            shape=values.shape,
            chunk_px=_CHUNK_BINS,
            dtype=values.dtype.name,
            version=version,
        )
        array[...] = values
