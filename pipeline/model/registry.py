"""Named architectures and the one function that builds a network from its specification."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.model.head import HeatmapHead
from pipeline.model.hrnet import TOTAL_STRIDE, HRNet, HRNetShape, initialise

# ImageNet's statistics of RGB in [0, 1], on the scale of uint8 pixels.
MEAN_RGB = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD_RGB = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class NetworkSpec(BaseModel):
    """Everything that fixes a network's shape; stored in the model card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    width: int = Field(gt=0)
    mga: Literal["replace", "insert", "none"] = "replace"
    theta: float = Field(default=0.7, ge=0.0, le=1.0)
    channels: int = Field(default=2, gt=0)
    stem_channels: int = Field(default=64, gt=0, multiple_of=4)
    bottlenecks: int = Field(default=4, gt=0)
    bottleneck_channels: int = Field(default=64, gt=0)
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = Field(default=4, gt=0)
    head_channels: int | None = Field(default=None, gt=0)
    head_middle: int = Field(default=64, gt=0)

    @property
    def stride(self) -> int:
        """Pixels per step of the coarsest branch; sides of the input are multiples of it."""
        return TOTAL_STRIDE


class HeatmapNetwork(nn.Module):
    """RGB pixels in, heatmap out; normalisation is part of the network."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD_RGB).view(1, 3, 1, 1))
        self.trunk = HRNet(_shape(spec))
        joined = spec.head_channels or sum(self.trunk.widths)
        self.head = HeatmapHead(
            self.trunk.widths, spec.channels, joined=joined, middle=spec.head_middle
        )
        initialise(self.trunk)
        self.head.initialise()

    def forward(self, pixels: Tensor) -> Tensor:
        """Predict the heatmap.

        Parameters
        ----------
        pixels
            ``(N, 3, H, W)``, RGB in [0, 255], uint8 or floating; H and W multiples of 32.

        Returns
        -------
        Tensor
            ``(N, channels, H, W)``, linear (about 1 at a cell's centre, 0 far from any).

        Raises
        ------
        ModelError
            If the shape is not of that kind.
        """
        check_input(pixels.shape)
        normalised = (pixels.to(self.mean.dtype) - self.mean) / self.std
        heatmap: Tensor = self.head(self.trunk(normalised))
        return heatmap


def check_input(shape: torch.Size) -> None:
    """Raise ModelError unless ``shape`` is ``(N, 3, H, W)`` with sides that are multiples of 32."""
    if len(shape) != 4 or shape[1] != 3:
        raise ModelError(f"network input has shape {tuple(shape)}; it takes (N, 3, H, W) RGB")
    height, width = shape[2:]
    if height % TOTAL_STRIDE or width % TOTAL_STRIDE or not height or not width:
        raise ModelError(
            f"network input is {width} x {height} px; make both sides multiples of {TOTAL_STRIDE}"
        )


def build_network(spec: NetworkSpec) -> HeatmapNetwork:
    """Return a freshly initialised network (torch's global generator draws the weights)."""
    return HeatmapNetwork(spec)


def network_spec(architecture: str, **changes: Any) -> NetworkSpec:  # noqa: ANN401 (field values)
    """Return a named architecture's specification, with some fields changed.

    Raises
    ------
    ModelError
        If there is no architecture of that name.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelError(f"no architecture {architecture!r}; known: {known}")
    fields = ARCHITECTURES[architecture].model_dump() | changes
    return NetworkSpec.model_validate(fields)


def _shape(spec: NetworkSpec) -> HRNetShape:
    return HRNetShape(
        width=spec.width,
        stem_channels=spec.stem_channels,
        bottlenecks=spec.bottlenecks,
        bottleneck_channels=spec.bottleneck_channels,
        modules=spec.modules,
        blocks=spec.blocks,
        mga=spec.mga,
        theta=spec.theta,
    )


_NAMED = (
    NetworkSpec(architecture="m_hrnet_w18", width=18),
    NetworkSpec(architecture="m_hrnet_w32", width=32),
    NetworkSpec(architecture="m_hrnet_w48", width=48),
    NetworkSpec(architecture="hrnet_w18", width=18, mga="none"),
    NetworkSpec(architecture="hrnet_w48", width=48, mga="none"),
    NetworkSpec(
        architecture="m_hrnet_w18_small",
        width=18,
        bottlenecks=2,
        bottleneck_channels=32,
        modules=(1, 2, 2),
        blocks=2,
        head_channels=64,
        head_middle=32,
    ),
    NetworkSpec(
        architecture="m_hrnet_tiny",
        width=4,
        stem_channels=16,
        bottlenecks=1,
        bottleneck_channels=8,
        modules=(1, 1, 1),
        blocks=1,
        head_channels=16,
        head_middle=8,
    ),
)

ARCHITECTURES: Mapping[str, NetworkSpec] = MappingProxyType(
    {spec.architecture: spec for spec in _NAMED}
)
