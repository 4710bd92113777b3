"""U-CSRNet: a VGG front, dilated convolutions at 1/8, and three enlargements to full resolution."""

from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from pipeline.model.layers import ConvNorm, DeconvNorm
from pipeline.model.mga import GradientNorm

STRIDE = 8
FRONT: tuple[tuple[int, int], ...] = ((1, 2), (2, 2), (4, 3), (8, 3))
"""VGG16 up to its tenth convolution: (times the width, convolutions); a pool after each but the
last."""
BACK = (8, 8, 8, 4, 2, 1)
DILATION = 2

UCSRNetKind = Literal["replace", "none"]


@dataclass(frozen=True, slots=True)
class UCSRNetShape:
    """Sizes of the network, all multiples of ``width``; ``mga`` replaces the first convolution."""

    width: int
    mga: UCSRNetKind = "none"
    theta: float = 0.7


class UCSRNet(nn.Module):
    """The features of U-CSRNet at 1/8 of the plane.

    Batch norm follows every convolution (the published one relies on weights from ImageNet).

    References
    ----------
    Li et al., CSRNet: dilated convolutional neural networks for understanding the highly congested
    scenes, CVPR 2018; Huang et al., BCData, MICCAI 2020.
    """

    def __init__(self, shape: UCSRNetShape) -> None:
        super().__init__()
        self.width = shape.width
        front: list[nn.Module] = []
        channels = 3
        for stage, (times, count) in enumerate(FRONT):
            if stage > 0:
                front.append(nn.MaxPool2d(2))
            for _ in range(count):
                front.append(_step(channels, times * shape.width, shape, first=not front))
                channels = times * shape.width
        self.front = nn.Sequential(*front)
        widths = [channels, *(times * shape.width for times in BACK)]
        self.back = nn.Sequential(
            *(ConvNorm(widths[k], widths[k + 1], 3, dilation=DILATION) for k in range(len(BACK)))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, 3, H, W)``, normalised, to one feature plane ``(N, width, H / 8, W / 8)``."""
        return [cast("Tensor", self.back(self.front(x)))]


class EnlargingHead(nn.Module):
    """Three transposed convolutions from 1/8 to full resolution."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(
            DeconvNorm(width, width // 2), DeconvNorm(width // 2, width // 4)
        )
        self.finish = nn.ConvTranspose2d(width // 4, channels, 4, stride=2, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map ``(N, width, h, w)`` to the heatmap ``(N, channels, 8 h, 8 w)``."""
        return cast("Tensor", self.finish(self.enlarge(features[0])))


def _step(in_channels: int, out_channels: int, shape: UCSRNetShape, *, first: bool) -> nn.Module:
    if first and shape.mga == "replace":
        return GradientNorm(in_channels, out_channels, theta=shape.theta)
    return ConvNorm(in_channels, out_channels, 3)
