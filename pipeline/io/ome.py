"""OME-Zarr metadata, versions 0.5 and 0.4, and what a heatmap is on disk."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle
from zarr.storage import LocalStore

from pipeline.io.chunks import BLOSC_LEVEL

OmeZarrVersion = Literal["0.5", "0.4"]

CHANNEL_COLOURS = {"positive": "D55E00", "negative": "0072B2"}
"""Vermilion and blue of the Okabe-Ito palette: told apart by colour-blind readers."""

OTHER_COLOUR = "FFFFFF"
_SETTINGS_KEY = "ki67_pipeline"


@dataclass(frozen=True, slots=True)
class Channel:
    """How viewers name and draw a channel.

    Attributes
    ----------
    name
        Shown by viewers.
    colour
        Hexadecimal RGB.
    highest
        Highest value there can be; the lowest is 0.
    brightest
        Value drawn in the full colour.
    """

    name: str
    colour: str
    highest: float
    brightest: float


@dataclass(frozen=True, slots=True)
class Levels:
    """Where the pixels of a pyramid lie on the slide.

    Attributes
    ----------
    count
        Number of levels; each halves the one below.
    pixel_um
        Side of a pixel of level 0, micrometres.
    origin_um
        (x, y) of the pyramid's corner on the slide, micrometres.
    slide_mpp_um
        (x, y) of the slide's level 0; OME places the centre of its first pixel at 0.
    """

    count: int
    pixel_um: float
    origin_um: tuple[float, float]
    slide_mpp_um: tuple[float, float]


@dataclass(frozen=True, slots=True)
class HeatmapPlan:
    """Geometry of a heatmap; kept in the store's attributes.

    Attributes
    ----------
    plane_width, plane_height
        Of the model plane, model-frame pixels.
    downsample
        Model-frame pixels per heatmap pixel and axis.
    chunk_px
        Side of a chunk, heatmap pixels.
    mpp_um
        Micrometres per model-frame pixel.
    origin_um
        (x, y) of the plane's corner on the slide, micrometres.
    slide_mpp_um
        (x, y) of the slide's level 0; OME places the centre of its first pixel at 0.
    ome_zarr
        Version of the OME-Zarr standard.
    channels
        Names, in the model card's order.
    """

    plane_width: int
    plane_height: int
    downsample: int
    chunk_px: int
    mpp_um: float
    origin_um: tuple[float, float]
    slide_mpp_um: tuple[float, float]
    ome_zarr: OmeZarrVersion
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("plane_width", "plane_height", "downsample", "chunk_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"heatmap {name}={getattr(self, name)} must be 1 or more")
        places = (self.mpp_um, *self.origin_um, *self.slide_mpp_um)
        if not all(map(math.isfinite, places)) or self.mpp_um <= 0 or min(self.slide_mpp_um) <= 0:
            raise ValueError(f"heatmap place and scale must be finite and positive: {places}")
        if not self.channels:
            raise ValueError("a heatmap needs a channel")

    @property
    def level_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each level, halved until one chunk holds it."""
        sizes = [
            (-(-self.plane_height // self.downsample), -(-self.plane_width // self.downsample))
        ]
        while max(sizes[-1]) > self.chunk_px:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        return sizes

    @property
    def levels(self) -> Levels:
        """Scale and place of the levels."""
        pixel_um = self.mpp_um * self.downsample
        return Levels(len(self.level_sizes), pixel_um, self.origin_um, self.slide_mpp_um)

    @property
    def block_px(self) -> int:
        """Model-frame pixels under one chunk: blocks begin and end at multiples of it."""
        return self.chunk_px * self.downsample


def existing_plan(path: Path) -> HeatmapPlan | None:
    """Read the plan of a heatmap; None where there is none of ours."""
    try:
        kept = dict(_attributes(path)[_SETTINGS_KEY])
        for name in ("origin_um", "slide_mpp_um", "channels"):
            kept[name] = tuple(kept[name])
        return HeatmapPlan(**kept)
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
        return None


def _attributes(path: Path) -> dict[str, Any]:
    """Those of a group of either version of zarr, read as what they are: a file of JSON.

    Every region asks for them, and zarr's own way there goes through an event loop.
    """
    with suppress(FileNotFoundError):
        return dict(json.loads((path / "zarr.json").read_bytes())["attributes"])
    return dict(json.loads((path / ".zattrs").read_bytes()))


def create_store(folder: Path, plan: HeatmapPlan, name: str) -> None:
    """Create the empty arrays and the metadata of a heatmap called ``name`` in ``folder``."""
    settings = asdict(plan) | {
        "origin_um": list(plan.origin_um),
        "slide_mpp_um": list(plan.slide_mpp_um),
        "channels": list(plan.channels),
    }
    channels = [
        Channel(channel, CHANNEL_COLOURS.get(channel, OTHER_COLOUR), 255.0, 255.0)
        for channel in plan.channels
    ]
    store = LocalStore(folder)
    create_image(
        store,
        ome_attributes(
            name, plan.ome_zarr, plan.levels, channels, kind="mean over a level 0 of maxima"
        )
        | {_SETTINGS_KEY: settings},
        plan.ome_zarr,
    )
    for level, size in enumerate(plan.level_sizes):
        create_level(
            store,
            str(level),
            shape=(len(plan.channels), *size),
            chunk_px=plan.chunk_px,
            dtype="uint8",
            version=plan.ome_zarr,
        )


def create_image(
    store: LocalStore, attributes: dict[str, Any], version: OmeZarrVersion, path: str = ""
) -> None:
    """Create the group of an image; what was there goes."""
    zarr_format: Literal[2, 3] = 2 if version == "0.4" else 3
    zarr.create_group(
        store, path=path, zarr_format=zarr_format, attributes=attributes, overwrite=True
    )


def create_level(
    store: LocalStore,
    name: str,
    *,
    shape: tuple[int, int, int],
    chunk_px: int,
    dtype: str,
    version: OmeZarrVersion,
) -> Any:
    """Create the empty array of one level, axes (channel, y, x), and return it.

    Floating point is NaN where nothing is written, integers are 0. Blosc and zstd: what readers of
    version 0.4 in Java know too.
    """
    size = np.dtype(dtype).itemsize
    arguments: dict[str, Any] = {
        "name": name,
        "shape": shape,
        "chunks": (1, chunk_px, chunk_px),
        "dtype": dtype,
        "fill_value": float("nan") if np.dtype(dtype).kind == "f" else 0,
        "config": {"write_empty_chunks": False},
    }
    if version == "0.4":
        compressor = {
            "id": "blosc",
            "cname": "zstd",
            "clevel": BLOSC_LEVEL,
            "shuffle": 2,
            "blocksize": 0,
        }
        arguments |= {"zarr_format": 2, "compressors": compressor}
        arguments |= {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    else:
        blosc = BloscCodec(
            typesize=size, cname="zstd", clevel=BLOSC_LEVEL, shuffle=BloscShuffle.bitshuffle
        )
        arguments |= {"zarr_format": 3, "compressors": blosc, "dimension_names": ["c", "y", "x"]}
    return zarr.create_array(store, **arguments)


def ome_attributes(
    name: str,
    version: OmeZarrVersion,
    levels: Levels,
    channels: Sequence[Channel],
    *,
    kind: str,
) -> dict[str, Any]:
    """Attributes of an image group: axes, scale and place of each level, channels.

    Parameters
    ----------
    name
        Of the image; ``.ome.zarr`` at its end is left out.
    version
        Of the standard.
    levels
        Where the pixels lie.
    channels
        In the order of the first axis.
    kind
        How the upper levels are made from the lower ones.
    """
    multiscale: dict[str, Any] = {
        "name": name.removesuffix(".ome.zarr"),
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": [_dataset(levels, level) for level in range(levels.count)],
        "type": kind,
    }
    omero = {"channels": [_omero_channel(channel) for channel in channels]}
    if version == "0.4":
        return {"multiscales": [{"version": "0.4", **multiscale}], "omero": omero}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], "omero": omero}}


def _dataset(levels: Levels, level: int) -> dict[str, Any]:
    pixel_um = levels.pixel_um * 2**level
    (origin_x, origin_y), (slide_x, slide_y) = levels.origin_um, levels.slide_mpp_um
    # centres: OME counts from the middle of a pixel, the slide's own first pixel being at 0
    centre_x, centre_y = origin_x + (pixel_um - slide_x) / 2, origin_y + (pixel_um - slide_y) / 2
    return {
        "path": str(level),
        "coordinateTransformations": [
            {"type": "scale", "scale": [1.0, pixel_um, pixel_um]},
            {"type": "translation", "translation": [0.0, centre_y, centre_x]},
        ],
    }


def _omero_channel(channel: Channel) -> dict[str, Any]:
    return {
        "label": channel.name,
        "color": channel.colour,
        "active": True,
        "window": {"min": 0.0, "max": channel.highest, "start": 0.0, "end": channel.brightest},
    }
