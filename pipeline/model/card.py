"""The model card: what a checkpoint is, what it marks, where it comes from, how it may be used."""

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from pipeline.config import MPP_RANGE_UM
from pipeline.core.localizing import PeakRule, PostKind
from pipeline.errors import ModelError
from pipeline.model.engine import EngineName
from pipeline.model.files import CARD_NAME
from pipeline.model.spec import TOTAL_STRIDE, NetworkSpec

SHA256_OR_UNSIGNED = r"^([0-9a-f]{64})?$"


class Source(BaseModel):
    """One data set or weight file that went into the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    use: str = Field(min_length=1)


class ModelCard(BaseModel):
    """Everything needed to run a checkpoint rightly and to judge its numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    spec: NetworkSpec | None = Field(
        default=None, description="of a named architecture; without it the network is an ONNX file"
    )
    channels: tuple[str, ...] = ("positive", "negative")
    mpp_um: float = Field(
        ge=MPP_RANGE_UM[0],
        le=MPP_RANGE_UM[1],
        description="micrometres per pixel of the model frame",
    )
    threshold: float = Field(gt=0.0, description="absolute peak height of a cell")
    floor: float = Field(gt=0.0, description="peaks below are not even kept as candidates")
    nms_radius_um: float = Field(default=3.1, gt=0.0)
    post: PostKind = Field(default="ccls", description="how cells are read from the heatmap")
    halo_px: int = Field(
        ge=0,
        multiple_of=TOTAL_STRIDE,
        description="context read around a tile's core, model-frame px",
    )
    population: str = Field(min_length=1, description="which nuclei the model marks")
    caveat: str = Field(min_length=1, description="goes into every score")
    sources: tuple[Source, ...]
    licence: str = Field(min_length=1)
    metrics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    limits: tuple[str, ...] = ()
    created: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}")
    research_use_only: bool = True
    weights_sha256: str = Field(default="", pattern=SHA256_OR_UNSIGNED)

    @model_validator(mode="after")
    def _fields_agree(self) -> "ModelCard":
        if self.spec is not None and len(self.channels) != self.spec.channels:
            raise ValueError(f"{len(self.channels)} channel names, {self.spec.channels} channels")
        if len(self.channels) != 1 and self.channels != ("positive", "negative"):
            raise ValueError(
                f"channels={list(self.channels)}: a network gives positive and negative cells in "
                "this order, or cells alone"
            )
        if self.floor > self.threshold:
            raise ValueError(f"floor={self.floor} is above threshold={self.threshold}")
        return self

    def peak_rule(self, post: PostKind | None = None) -> PeakRule:
        """Return the rule that reads cells from the model's heatmaps, or another by name."""
        return PeakRule.named(
            self.post if post is None else post, radius_um=self.nms_radius_um, mpp_um=self.mpp_um
        )

    def engine(self, asked: str = "auto") -> EngineName:
        """Return the engine that runs the network: the one asked for, or ``auto``.

        Raises
        ------
        ModelError
            It cannot run a network of this kind.
        """
        fitting: tuple[EngineName, ...] = ("onnxruntime",) if self.spec is None else ("torch",)
        for engine in fitting:
            if asked in ("auto", engine):
                return engine
        kind = "an ONNX file" if self.spec is None else "a network of a named architecture"
        raise ModelError(f"engine={asked}: {self.name} is {kind}; use {' or '.join(fitting)}")

    def check_slides_allowed(self) -> None:
        """Raise ModelError if the model gives no index, or one that depends on the tiles."""
        if len(self.channels) == 1:
            raise ModelError(
                f"{self.name}: has one channel, so its cells are neither positive nor negative and "
                "a slide has no index; use a model with two (ki67 evaluate takes this one)"
            )
        if not self.peak_rule().local:
            raise ModelError(
                f"{self.name}: post={self.post} puts its threshold at a share of each picture's "
                "highest value, so cells of a slide would depend on the tiles; use a model with "
                "post ccls or lmss (ki67 evaluate takes this one)"
            )


def load_card(folder: Path) -> ModelCard:
    """Read ``folder/card.json``.

    Raises
    ------
    ModelError
        If it is missing, is no JSON, or has an unknown, missing or impossible field.
    """
    path = folder / CARD_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(f"{path}: cannot read the model card ({reason})") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: the model card is not UTF-8 text") from error
    try:
        return ModelCard.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: the model card is not JSON (line {error.lineno})") from error
    except ValidationError as error:
        raise ModelError(f"{path}: {_first_complaint(error)}") from error


def _first_complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "card"
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_nearest(first)}"
    return f"{where}: {first['msg']}"


def _nearest(complaint: ErrorDetails) -> str:
    *parents, key = complaint["loc"]
    owner: type[BaseModel] = ModelCard
    if parents:
        owner = NetworkSpec if parents[0] == "spec" else Source
    close = difflib.get_close_matches(str(key), list(owner.model_fields), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; remove it"
