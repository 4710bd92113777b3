"""The response map of a slide as OME-Zarr: uint8, multiscale, one writer for every chunk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.core.blocks import block_maxima
from pipeline.errors import OutputError
from pipeline.io.chunks import ChunkedLevel
from pipeline.io.files import atomic_folder, output_errors, short_name, sweep_partial
from pipeline.io.ome import HeatmapPlan, OmeZarrVersion, create_store, existing_plan


def create_heatmap(
    path: Path,
    *,
    plane_width: int,
    plane_height: int,
    downsample: int,
    chunk_px: int,
    mpp_um: float,
    origin_um: tuple[float, float] = (0.0, 0.0),
    slide_mpp_um: tuple[float, float] | None = None,
    ome_zarr: OmeZarrVersion = "0.5",
    channels: Sequence[str] = ("positive", "negative"),
) -> HeatmapPlan:
    """Create the empty heatmap ``path`` (a folder ending in ``.ome.zarr``).

    A heatmap of the same plan that is already there is kept with what it holds, so that a resumed
    run loses nothing; one of another plan is replaced. The arguments are those of
    :class:`HeatmapPlan`.

    Raises
    ------
    ValueError
        A size or scale that cannot be.
    OutputError
        The folder cannot be written.
    """
    plan = HeatmapPlan(
        plane_width=plane_width,
        plane_height=plane_height,
        downsample=downsample,
        chunk_px=chunk_px,
        mpp_um=float(mpp_um),
        origin_um=(float(origin_um[0]), float(origin_um[1])),
        slide_mpp_um=slide_mpp_um or (float(mpp_um), float(mpp_um)),
        ome_zarr=ome_zarr,
        channels=tuple(channels),
    )
    if existing_plan(path) != plan:
        with atomic_folder(path) as partial:
            create_store(partial, plan, path.name)
    return plan


def write_block(path: Path, x0_px: int, y0_px: int, heatmap: NDArray[np.float32]) -> None:
    """Write one block of level 0: the maximum over every downsample square, [0, 1] as 0..255.

    The maximum keeps a peak visible that the mean would drown. Blocks begin at multiples of
    ``chunk_px * downsample`` and end there or at the plane's border, so two writers never meet in
    one chunk.

    Parameters
    ----------
    path
        Of a created heatmap.
    x0_px, y0_px
        Corner of the block in the plane, model-frame pixels.
    heatmap
        float32 ``(channels, height, width)``; values outside [0, 1] are clipped.

    Raises
    ------
    ValueError
        The block is not aligned, leaves the plane or holds NaN or infinity.
    OutputError
        The heatmap is missing or its folder cannot be written.
    """
    plan = read_plan(path)
    _check_block(plan, x0_px, y0_px, heatmap)
    step = plan.downsample
    peaks = block_maxima(heatmap, step)
    # a maximum keeps a NaN, and an infinity unless it is below all
    if not np.isfinite((peaks.min(), peaks.max())).all():
        raise ValueError(f"block at x={x0_px}, y={y0_px} holds NaN or infinity")
    pixels = np.rint(np.clip(peaks, 0.0, 1.0) * 255.0).astype(np.uint8)
    top, left = y0_px // step, x0_px // step
    with output_errors(path.parent):
        _level(path, plan, 0).write(top, left, pixels, sync=True)


def finish_heatmap(path: Path) -> None:
    """Build the upper levels (mean of 2 x 2) and remove what killed writers left.

    Raises
    ------
    OutputError
        The heatmap is missing or its folder cannot be written.
    """
    plan = read_plan(path)
    sweep_partial(path)
    with output_errors(path.parent):
        for level in range(1, len(plan.level_sizes)):
            lower, upper = _level(path, plan, level - 1), _level(path, plan, level)
            # chunk by chunk: a row of them is as wide as the slide
            for top in range(0, upper.shape[1], plan.chunk_px):
                for left in range(0, upper.shape[2], plan.chunk_px):
                    square = lower.read(2 * top, 2 * left, 2 * plan.chunk_px)
                    upper.write(top, left, halved(square), sync=False)
        if plan.ome_zarr == "0.4":  # version 3 stores need none, and its form is no standard yet
            zarr.consolidate_metadata(LocalStore(path), zarr_format=2)


def copy_heatmap(path: Path, to: Path, ome_zarr: OmeZarrVersion) -> None:
    """Copy a finished heatmap as the version of OME-Zarr asked for; a row of chunks at a time.

    Raises
    ------
    OutputError
        There is no heatmap at ``path``, or the folder ``to`` cannot be written.
    """
    plan = replace(read_plan(path), ome_zarr=ome_zarr)
    with atomic_folder(to) as partial:
        create_store(partial, plan, to.name)
        for level in range(len(plan.level_sizes)):
            source, target = _open_array(path, level), _open_array(partial, level)
            for top in range(0, source.shape[1], plan.chunk_px):
                rows = slice(top, top + plan.chunk_px)
                target[:, rows] = source[:, rows]
        if ome_zarr == "0.4":
            zarr.consolidate_metadata(LocalStore(partial), zarr_format=2)


def read_plan(path: Path) -> HeatmapPlan:
    """Read the geometry of a heatmap.

    Raises
    ------
    OutputError
        There is no heatmap of ours at ``path``.
    """
    plan = existing_plan(path)
    if plan is None:
        raise OutputError(f"{short_name(path)}: no heatmap here; run the same `ki67 run` again")
    return plan


def read_level(path: Path, level: int = 0) -> NDArray[np.uint8]:
    """Read a whole level, uint8 ``(channels, height, width)``."""
    return np.asarray(_open_array(path, level)[:], dtype=np.uint8)


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of 2 x 2 pixels, half up; an odd last row or column is averaged over what is there."""
    _, height, width = pixels.shape
    if height % 2 or width % 2:  # what is there twice has the mean of what is there
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    rows = pixels[:, ::2].astype(np.uint16)
    rows += pixels[:, 1::2]
    sums = rows[:, :, ::2] + rows[:, :, 1::2]
    return ((sums + np.uint16(2)) >> 2).astype(np.uint8)


def _check_block(plan: HeatmapPlan, x0_px: int, y0_px: int, heatmap: NDArray[np.float32]) -> None:
    if heatmap.ndim != 3 or len(heatmap) != len(plan.channels) or 0 in heatmap.shape:
        raise ValueError(f"block {heatmap.shape} is not ({len(plan.channels)}, height, width)")
    spans = (
        ("x", x0_px, x0_px + heatmap.shape[2], plan.plane_width),
        ("y", y0_px, y0_px + heatmap.shape[1], plan.plane_height),
    )
    for axis, start, end, whole in spans:
        aligned = start % plan.block_px == 0 and (end == whole or end % plan.block_px == 0)
        if start < 0 or end > whole or not aligned:
            raise ValueError(
                f"block {axis} [{start}, {end}) must lie in [0, {whole}) and begin and end at "
                f"multiples of {plan.block_px} or the border: each chunk has one writer"
            )


def _open_array(path: Path, level: int) -> Any:
    return zarr.open_array(LocalStore(path), path=str(level), mode="r+")


def _level(path: Path, plan: HeatmapPlan, level: int) -> ChunkedLevel:
    # version 3 keeps chunks in a folder of their own
    folder = path / str(level) if plan.ome_zarr == "0.4" else path / str(level) / "c"
    shape = (len(plan.channels), *plan.level_sizes[level])
    return ChunkedLevel(folder, shape, plan.chunk_px)
