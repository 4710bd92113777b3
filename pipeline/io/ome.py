"""What a heatmap is on disk: its geometry and its OME-Zarr metadata, versions 0.5 and 0.4."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import zarr
from zarr.codecs import BloscCodec, BloscShuffle
from zarr.storage import LocalStore

OmeZarrVersion = Literal["0.5", "0.4"]

CHANNEL_COLOURS = {"positive": "D55E00", "negative": "0072B2"}
"""Vermilion and blue of the Okabe-Ito palette: told apart by colour-blind readers."""

_OTHER_COLOUR = "FFFFFF"
_SETTINGS_KEY = "ki67_pipeline"


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
    def block_px(self) -> int:
        """Model-frame pixels under one chunk: blocks begin and end at multiples of it."""
        return self.chunk_px * self.downsample


def existing_plan(path: Path) -> HeatmapPlan | None:
    """Read the plan of a heatmap; None where there is none of ours."""
    try:
        attributes = zarr.open_group(LocalStore(path, read_only=True), mode="r").attrs
        kept: dict[str, Any] = dict(attributes[_SETTINGS_KEY])  # type: ignore[arg-type]
        for name in ("origin_um", "slide_mpp_um", "channels"):
            kept[name] = tuple(kept[name])
        return HeatmapPlan(**kept)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def create_store(folder: Path, plan: HeatmapPlan, name: str) -> None:
    """Create the empty arrays and the metadata of a heatmap called ``name`` in ``folder``."""
    zarr_format: Literal[2, 3] = 2 if plan.ome_zarr == "0.4" else 3
    settings = asdict(plan) | {
        "origin_um": list(plan.origin_um),
        "slide_mpp_um": list(plan.slide_mpp_um),
        "channels": list(plan.channels),
    }
    attributes = {**_ome_attributes(plan, name), _SETTINGS_KEY: settings}
    store = LocalStore(folder)
    zarr.create_group(store, zarr_format=zarr_format, attributes=attributes, overwrite=True)
    for level, size in enumerate(plan.level_sizes):
        _create_level(store, plan, level, size)


def _create_level(store: LocalStore, plan: HeatmapPlan, level: int, size: tuple[int, int]) -> None:
    arguments: dict[str, Any] = {
        "name": str(level),
        "shape": (len(plan.channels), *size),
        "chunks": (1, plan.chunk_px, plan.chunk_px),
        "dtype": "uint8",
        "fill_value": 0,
        "config": {"write_empty_chunks": False},
    }
    if plan.ome_zarr == "0.4":
        compressor = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0}
        arguments |= {"zarr_format": 2, "compressors": compressor}
        arguments |= {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    else:
        blosc = BloscCodec(typesize=1, cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle)
        arguments |= {"zarr_format": 3, "compressors": blosc, "dimension_names": ["c", "y", "x"]}
    zarr.create_array(store, **arguments)


def _ome_attributes(plan: HeatmapPlan, name: str) -> dict[str, Any]:
    multiscale: dict[str, Any] = {
        "name": name.removesuffix(".ome.zarr"),
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": [_dataset(plan, level) for level in range(len(plan.level_sizes))],
        "type": "mean over a level 0 of maxima",
    }
    omero = {"channels": [_channel(channel) for channel in plan.channels]}
    if plan.ome_zarr == "0.4":
        return {"multiscales": [{"version": "0.4", **multiscale}], "omero": omero}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], "omero": omero}}


def _dataset(plan: HeatmapPlan, level: int) -> dict[str, Any]:
    pixel_um = plan.mpp_um * plan.downsample * 2**level
    (origin_x, origin_y), (slide_x, slide_y) = plan.origin_um, plan.slide_mpp_um
    # centres: OME counts from the middle of a pixel, the slide's own first pixel being at 0
    centre_x, centre_y = origin_x + (pixel_um - slide_x) / 2, origin_y + (pixel_um - slide_y) / 2
    return {
        "path": str(level),
        "coordinateTransformations": [
            {"type": "scale", "scale": [1.0, pixel_um, pixel_um]},
            {"type": "translation", "translation": [0.0, centre_y, centre_x]},
        ],
    }


def _channel(name: str) -> dict[str, Any]:
    return {
        "label": name,
        "color": CHANNEL_COLOURS.get(name, _OTHER_COLOUR),
        "active": True,
        "window": {"min": 0.0, "max": 255.0, "start": 0.0, "end": 255.0},
    }
