"""U-Net: an encoder that halves the plane four times, a decoder that doubles it again."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.layers import ConvNorm
from pipeline.model.mga import GradientNorm

DEPTH = 4
STRIDE = 2**DEPTH

UNetKind = Literal["replace", "block", "none"]


@dataclass(frozen=True, slots=True)
class UNetShape:
    """Sizes of the network: level ``k`` has ``width * 2**k`` channels.

    ``mga`` replaces the first convolution, the whole first block, or nothing.
    """

    width: int
    mga: UNetKind = "none"
    theta: float = 0.7


class UNet(nn.Module):
    """A U-Net over an RGB plane; enlarges by nearest neighbour and a convolution.

    References
    ----------
    Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, 2015.
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        widths = [shape.width * 2**level for level in range(DEPTH + 1)]
        self.width = shape.width
        self.down = nn.ModuleList(
            [
                _first_block(shape),
                *(_block(widths[level], widths[level + 1]) for level in range(DEPTH)),
            ]
        )
        self.enlarge = nn.ModuleList(
            ConvNorm(widths[level + 1], widths[level], 3) for level in range(DEPTH)
        )
        self.up = nn.ModuleList(_block(2 * widths[level], widths[level]) for level in range(DEPTH))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, 3, H, W)``, normalised, to one feature plane ``(N, width, H, W)``."""
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level > 0:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            kept.append(x)
        for level in reversed(range(DEPTH)):
            larger = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.up[level](torch.cat([kept[level], self.enlarge[level](larger)], dim=1))
        return [x]


class PointwiseHead(nn.Module):
    """The last layer of a network whose features have full resolution: one 1x1 convolution."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.finish = nn.Conv2d(width, channels, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map ``(N, width, H, W)`` to the heatmap ``(N, channels, H, W)``."""
        return cast("Tensor", self.finish(features[0]))


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(in_channels, out_channels, 3), ConvNorm(out_channels, out_channels, 3)
    )


def _first_block(shape: UNetShape) -> nn.Module:
    if shape.mga == "none":
        return _block(3, shape.width)
    gradients = GradientNorm(3, shape.width, theta=shape.theta)
    if shape.mga == "block":
        return nn.Sequential(gradients)
    return nn.Sequential(gradients, ConvNorm(shape.width, shape.width, 3))
