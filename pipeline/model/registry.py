"""The whole network, and the one function that builds it from its specification."""

from typing import cast

import torch
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.model.csrnet import EnlargingHead, UCSRNet, UCSRNetKind, UCSRNetShape
from pipeline.model.head import HeatmapHead
from pipeline.model.hrnet import HRNet, HRNetShape, StemKind, initialise
from pipeline.model.spec import ARCHITECTURES, TOTAL_STRIDE, NetworkSpec, network_spec
from pipeline.model.unet import PointwiseHead, UNet, UNetKind, UNetShape

__all__ = [
    "ARCHITECTURES",
    "HeatmapNetwork",
    "NetworkSpec",
    "build_network",
    "check_input",
    "network_spec",
]

# ImageNet's statistics of RGB in [0, 1], on the scale of uint8 pixels.
MEAN_RGB = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD_RGB = (0.229 * 255, 0.224 * 255, 0.225 * 255)
FINAL_GAIN = 0.05

Trunk = HRNet | UNet | UCSRNet
Head = HeatmapHead | PointwiseHead | EnlargingHead


class HeatmapNetwork(nn.Module):
    """RGB pixels in, heatmap out; normalisation is part of the network."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD_RGB).view(1, 3, 1, 1))
        self.trunk, self.head = _parts(spec)
        initialise(self.trunk)
        initialise(self.head)
        with torch.no_grad():  # most of a heatmap lies near zero: so does the first one
            self.head.finish.weight.mul_(FINAL_GAIN)

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


def _parts(spec: NetworkSpec) -> tuple[Trunk, Head]:
    """The features of a network and what turns them into a heatmap."""
    if spec.family == "u_net":
        placed = cast("UNetKind", spec.mga)
        return (
            UNet(UNetShape(spec.width, placed, spec.theta)),
            PointwiseHead(spec.width, spec.channels),
        )
    if spec.family == "u_csrnet":
        first = cast("UCSRNetKind", spec.mga)
        return (
            UCSRNet(UCSRNetShape(spec.width, first, spec.theta)),
            EnlargingHead(spec.width, spec.channels),
        )
    trunk = HRNet(_hrnet_shape(spec))
    joined = spec.head_channels or sum(trunk.widths)
    head = HeatmapHead(trunk.widths, spec.channels, joined=joined, middle=spec.head_middle)
    return trunk, head


def _hrnet_shape(spec: NetworkSpec) -> HRNetShape:
    return HRNetShape(
        width=spec.width,
        stem_channels=spec.stem_channels,
        bottlenecks=spec.bottlenecks,
        bottleneck_channels=spec.bottleneck_channels,
        modules=spec.modules,
        blocks=spec.blocks,
        mga=cast("StemKind", spec.mga),
        theta=spec.theta,
    )
