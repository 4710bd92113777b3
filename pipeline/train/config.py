"""Settings of a training: frozen, complete, read from TOML, unknown keys refused."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.config import STRIDE_PX, Section, set_pair, validated
from pipeline.errors import ConfigError
from pipeline.model.spec import NetworkSpec, network_spec
from pipeline.train.method import CHANNELS_OF, Classes, MapConfig, PostConfig

Kind = Literal[
    "bcdata",
    "shidc",
    "points",
    "synthetic",
    "qupath",
    "masks",
    "uw",
    "brca_m2c",
    "conic",
    "ccrcc",
    "psu",
    "paper_points",
]
"""How a source's fields are stored; ``train.loaders`` reads each."""
Meaning = Literal["positive", "negative", "cell", "other", "ignore"]
"""What a label stands for: a class of the index, an unclassed cell, no tumour cell, nothing."""
COARSEST_FIELD_UM = 5.0
"""Coarser pixels show no nuclei: a nucleus would be two of them."""
Role = Literal["training", "validation", "held_out"]


class SourceConfig(Section):
    """One set of annotated fields and its share of the training."""

    name: str = Field(min_length=1)
    kind: Kind
    path: str | None = Field(None, description="absolute, or relative to the data folder")
    mpp_um: float | None = Field(
        None,
        gt=0,
        le=COARSEST_FIELD_UM,
        description="micrometres per pixel of the stored images; qupath: the slide's",
    )
    include: tuple[str, ...] = Field(("*",), description="patterns of image names, no suffix")
    exclude: tuple[str, ...] = ()
    group_size: int = Field(4, gt=0, description="images in a row that stay together (bcdata)")
    split: str | None = Field(None, description="one official part of the set, such as test")
    labels: dict[str, Meaning] = Field(
        default_factory=dict,
        description="what the label words of points, qupath, uw, brca_m2c stand for",
    )
    slides: str | None = Field(None, description="qupath: folder of the slides; None: path")
    masks: Literal["instances", "dark", "bright"] = Field(
        "instances", description="masks: numbered nuclei, or nuclei dark or bright on the rest"
    )
    opening_px: int = Field(0, ge=0, description="masks: radius that parts touching nuclei")
    min_area_px: int = Field(0, ge=0, description="masks: smaller pieces are no nuclei")
    recolour: int = Field(
        0, ge=0, description="Ki-67-like variants made of each H&E field, which they replace"
    )
    weight: float = Field(1.0, gt=0, description="share of the crops")
    licence: str = Field("not stated", min_length=1)
    count: int = Field(200, gt=0, description="synthetic: fields to render")
    size_px: int = Field(512, gt=0, description="synthetic: side of a field")
    seed: int = Field(0, ge=0, description="of the first synthetic field or variant")
    ranges: Literal["training", "demo"] = "training"

    @model_validator(mode="after")
    def _has_a_path(self) -> "SourceConfig":
        if self.kind != "synthetic" and not self.path:
            raise ValueError(f"source {self.name!r} of kind {self.kind} needs a path")
        if self.kind != "qupath" and self.mpp_um is None:
            raise ValueError(
                f"source {self.name!r} needs mpp_um: images of kind {self.kind} do not tell it"
            )
        return self

    @property
    def image_mpp_um(self) -> float:
        """Micrometres per pixel; only a ``qupath`` source may leave them to its slides."""
        if self.mpp_um is None:
            raise ConfigError(f"source {self.name!r}: give mpp_um")
        return self.mpp_um


class CardConfig(Section):
    """What the model card says that training cannot know."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    population: str = Field(min_length=1)
    caveat: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    limits: tuple[str, ...] = ()
    halo_px: int = Field(64, ge=0, multiple_of=32)


class AugmentConfig(Section):
    """Ranges of the random changes made to a crop; 0 or 1 turn one off."""

    scale: tuple[float, float] = Field((0.85, 1.2), description="factor on micrometres per pixel")
    overhang_px: float = Field(24.0, ge=0, description="of a crop over the image's edge, white")
    stain: float = Field(0.2, ge=0, description="relative change of each stain's density")
    stain_shift: float = Field(0.02, ge=0, description="density added to each stain")
    brightness: float = Field(0.08, ge=0)
    contrast: float = Field(0.12, ge=0)
    colour: float = Field(0.04, ge=0, description="change of one channel against the others")
    blur: float = Field(0.15, ge=0, le=1, description="probability")
    blur_px: tuple[float, float] = Field((0.3, 0.9), description="its standard deviation")
    sharpen: float = Field(0.0, ge=0, le=1, description="probability; no crop is blurred as well")
    noise: float = Field(0.0, ge=0, description="largest standard deviation, levels of 255")
    jpeg: float = Field(0.15, ge=0, le=1, description="probability")
    rotation: Literal["none", "quarter", "free"] = Field("quarter", description="besides mirroring")

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "AugmentConfig":
        for name in ("scale", "blur_px"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}={low:g}, {high:g}: give two numbers above 0, low first")
        return self


class TrainConfig(Section):
    """Every setting of one training."""

    architecture: str
    network: dict[str, Any] = Field(default_factory=dict, description="changes to its fields")
    initial: str | None = Field(None, description="model to start from, else random weights")
    card: CardConfig
    classes: Classes = Field("per_class", description="two channels, or one of all cells")
    map: MapConfig = MapConfig()
    post: PostConfig = PostConfig()
    mpp_um: float = Field(0.5, gt=0)
    training: tuple[SourceConfig, ...] = Field(min_length=1)
    validation: tuple[SourceConfig, ...] = Field(
        (), description="choose step and threshold; none: the last step and post.threshold"
    )
    held_out: tuple[SourceConfig, ...] = ()
    augment: AugmentConfig = AugmentConfig()
    crop_px: int = Field(256, gt=0, multiple_of=32)
    batch: int = Field(4, gt=0)
    steps: int = Field(2000, gt=0)
    lr: float = Field(1e-4, gt=0)
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["cosine", "step"] = "cosine"
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: float = Field(1000.0, gt=0, description="of the gradient of the summed loss")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, 0: none")
    seed: int = Field(1, ge=0)
    threads: int = Field(1, gt=0)
    device: str = Field("cpu", pattern=r"^(cpu|cuda)$")
    amp: bool = Field(
        default=False, description="bfloat16 for CUDA and for processors that have it"
    )
    validate_every: int = Field(100, gt=0)
    patience: int = Field(
        0, ge=0, description="stop after so many validations without a better one; 0: never"
    )
    save_every: int = Field(100, gt=0)
    match_radius_um: float = Field(3.125, gt=0)

    @model_validator(mode="after")
    def _settings_agree(self) -> "TrainConfig":
        if self.network.get("channels", self.channels) != self.channels:
            raise ValueError(
                f"network.channels={self.network['channels']} contradicts classes={self.classes}; "
                "leave it out"
            )
        if not self.validation and self.post.threshold is None:
            raise ValueError("without validation fields post.threshold must be given")
        if self.batch == 1 and self.crop_px == STRIDE_PX:
            raise ValueError(
                f"batch=1 with crop_px={self.crop_px} leaves batch norm one value per channel; "
                "make one of them larger"
            )
        return self

    @property
    def channels(self) -> int:
        """Channels of the heatmap."""
        return CHANNELS_OF[self.classes]

    @property
    def spec(self) -> NetworkSpec:
        """The network that is trained.

        Raises
        ------
        ConfigError
            ``network`` changes a field that there is not, or to what cannot be.
        """
        changes = self.network | {"channels": self.channels}
        try:
            return network_spec(self.architecture, **changes)
        except ValidationError as error:
            faults = (
                f"network.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
            )
            raise ConfigError("; ".join(faults)) from error

    def sources(self, role: Role) -> tuple[SourceConfig, ...]:
        """Return the sources of one role."""
        roles = {
            "training": self.training,
            "validation": self.validation,
            "held_out": self.held_out,
        }
        return roles[role]


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training's TOML file, then ``key=value`` pairs (TOML values or bare words).

    Raises
    ------
    ConfigError
        Unknown key, bad value, unreadable file.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read as TOML: {error}") from error
    for pair in overrides:
        set_pair(settings, pair)
    return validated(TrainConfig, settings)


def data_folder(named: str | None = None) -> Path:
    """Return where relative source paths start: named, else ``KI67_DATA``, else here."""
    return Path(named or os.environ.get("KI67_DATA") or ".").expanduser()
