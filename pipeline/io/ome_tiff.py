"""The response map as a pyramidal OME-TIFF: for viewers that open no OME-Zarr, QuPath 0.5 first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.errors import OutputError
from pipeline.io.files import atomic_path, short_name
from pipeline.io.heatmap import read_plan
from pipeline.io.ome import CHANNEL_COLOURS, OTHER_COLOUR, HeatmapPlan

TILE_PX = 512

_SOFTWARE = "ki67-pipeline"
_NO_UUID = "00000000-0000-0000-0000-000000000000"
"""A single file needs none to name its parts by; a random one would make equal maps differ."""


def write_ome_tiff(heatmap: Path, path: Path) -> None:
    """Write the levels of a stored heatmap as one tiled OME-TIFF, the upper ones as SubIFDs.

    Two 8-bit channels with names and colours, the pixel's size in micrometres, Deflate. One row of
    tiles is in memory at a time. The same heatmap gives the same bytes. The picture's corner is
    that of the slide's bounds, which is QuPath's (0, 0).

    Parameters
    ----------
    heatmap
        A finished ``heatmap.ome.zarr``.
    path
        Ends in ``.ome.tiff`` or ``.ome.tif``.

    Raises
    ------
    ValueError
        Another ending, by which viewers would not know it.
    OutputError
        There is no heatmap, or the folder cannot be written.
    """
    if not path.name.endswith((".ome.tiff", ".ome.tif")):
        raise ValueError(f"{path.name}: an OME-TIFF ends in .ome.tiff")
    plan = read_plan(heatmap)
    levels = [_open_level(heatmap, level) for level in range(len(plan.level_sizes))]
    with atomic_path(path) as partial, tifffile.TiffWriter(partial, bigtiff=True) as tif:
        for number, level in enumerate(levels):
            pixel_um = plan.levels.pixel_um * 2**number
            tif.write(
                _tiles(level),
                shape=level.shape,
                dtype="uint8",
                tile=(TILE_PX, TILE_PX),
                photometric="minisblack",
                compression="adobe_deflate",
                resolution=(1e4 / pixel_um, 1e4 / pixel_um),
                resolutionunit="CENTIMETER",
                software=_SOFTWARE,
                description=_ome_xml(plan, path.name) if number == 0 else None,
                metadata=None,
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=int(number > 0),
            )


def _open_level(heatmap: Path, level: int) -> Any:
    try:
        return zarr.open_array(LocalStore(heatmap, read_only=True), path=str(level), mode="r")
    except FileNotFoundError as error:
        raise OutputError(
            f"{short_name(heatmap)}: level {level} is missing; run `ki67 verify` and then the same "
            "`ki67 run` again"
        ) from error


def _tiles(level: Any) -> Iterator[NDArray[np.uint8]]:
    """Tiles of every channel, row by row, whole ones: the border's are filled with 0."""
    channels, height, width = level.shape
    for channel in range(channels):
        for top in range(0, height, TILE_PX):
            strip = np.asarray(level[channel, top : top + TILE_PX], dtype=np.uint8)
            for left in range(0, width, TILE_PX):
                part = strip[:, left : left + TILE_PX]
                tile = np.zeros((TILE_PX, TILE_PX), np.uint8)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile


def _ome_xml(plan: HeatmapPlan, name: str) -> bytes:
    """OME-XML of one image of the plan's size and channels, UTF-8."""
    colours = [CHANNEL_COLOURS.get(channel, OTHER_COLOUR) for channel in plan.channels]
    described = tifffile.OmeXml(UUID=_NO_UUID, Creator=_SOFTWARE)
    height, width = plan.level_sizes[0]
    shape = (len(plan.channels), height, width)
    described.addimage(
        "uint8",
        shape,
        (len(plan.channels), 1, 1, height, width, 1),
        axes="CYX",
        Name=name.partition(".ome.")[0],
        PhysicalSizeX=plan.levels.pixel_um,
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=plan.levels.pixel_um,
        PhysicalSizeYUnit="µm",
        Channel={
            "Name": list(plan.channels),
            "Color": [_signed_rgba(colour) for colour in colours],
        },
    )
    return str(described.tostring(declaration=True)).encode()


def _signed_rgba(colour: str) -> int:
    """Opaque RGBA as the signed 32-bit integer of OME-XML."""
    value = int(colour, 16) << 8 | 255
    return value - (1 << 32) if value >= 1 << 31 else value
