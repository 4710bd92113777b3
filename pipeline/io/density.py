"""Cells per bin of a slide as a Zarr group: counts of each label and the labelling index."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.io.cells import check_finite
from pipeline.io.files import atomic_folder
from pipeline.io.ome import OmeZarrVersion

BIN_UM = 50.0
"""Side of a bin: about a hundred nuclei of dense tissue, small beside a hotspot."""

_CHUNK_BINS = 512


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
    """Write the folder ``path`` (``density``) as a plain Zarr group.

    ``counts`` is uint32 ``(label, y, x)``, positive then negative; ``index_pct`` is float32
    ``(y, x)``, NaN where no cell is. The group's attributes hold the bin's side in micrometres
    and its corner and side on level 0. Zarr version 3, or 2 beside an OME-Zarr 0.4 heatmap.

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
        Side of a bin.
    ome_zarr
        Of the heatmap this stands beside.

    Raises
    ------
    ValueError
        A cell is nowhere or outside the plane, or a size is not positive.
    OutputError
        The folder cannot be written.
    """
    bins = density_frame(frame, mpp_um=mpp_um, bin_um=bin_um)
    counts = bin_cells(points, bins)
    attributes = {
        "bin_um": bin_um,
        "labels": ["positive", "negative"],
        "origin_l0": [bins.origin_x_l0, bins.origin_y_l0],
        "bin_l0": [bins.scale_x, bins.scale_y],
        "axes_of_origin_and_bin": ["x", "y"],
    }
    zarr_format: Literal[2, 3] = 2 if ome_zarr == "0.4" else 3
    with atomic_folder(path) as partial:
        store = LocalStore(partial)
        zarr.create_group(store, zarr_format=zarr_format, attributes=attributes, overwrite=True)
        _write_array(store, "counts", counts, ("label", "y", "x"), zarr_format)
        _write_array(store, "index_pct", index_pct(counts), ("y", "x"), zarr_format)


def _write_array(
    store: LocalStore,
    name: str,
    values: NDArray[Any],
    axes: Sequence[str],
    zarr_format: Literal[2, 3],
) -> None:
    floating = values.dtype.kind == "f"
    side = (_CHUNK_BINS, _CHUNK_BINS)
    arguments: dict[str, Any] = {"zarr_format": zarr_format}
    if zarr_format == 3:
        arguments["dimension_names"] = list(axes)
    else:  # xarray's way to name the axes of a version 2 array
        arguments["attributes"] = {"_ARRAY_DIMENSIONS": list(axes)}
        arguments["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    array = zarr.create_array(
        store,
        name=name,
        shape=values.shape,
        chunks=side if values.ndim == 2 else (1, *side),
        dtype=values.dtype,
        fill_value=float("nan") if floating else 0,
        config={"write_empty_chunks": False},
        **arguments,
    )
    array[...] = values
