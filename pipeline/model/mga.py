"""The multiscale gradient aggregation module: four dilated difference convolutions, summed up."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.errors import ModelError
from pipeline.model.difference import DifferenceConv2d

DILATIONS = (1, 2, 3, 4)


class MGA(nn.Module):
    """Gather gradients at four scales around each pixel.

    A 1x1 convolution, batch norm and PReLU give ``z`` with a quarter of the output's channels.
    Four difference convolutions of dilation 1 to 4 all read ``z``; each output is added to the one
    before (``o_k = b_k(z) + o_(k-1)``) and the four sums are stacked. No norm follows: the host
    brings its own.

    Parameters
    ----------
    in_channels, out_channels
        Channels read and written; the second a multiple of four.
    stride
        Of the four branches; the 1x1 projection always works at full resolution.
    theta
        Of the difference convolutions.

    References
    ----------
    Li et al., Exponential distance transform maps for cell localization, EAAI 2024, section 3.3.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, theta: float = 0.7
    ) -> None:
        super().__init__()
        if out_channels % len(DILATIONS):
            raise ModelError(
                f"MGA: out_channels={out_channels}; use a multiple of {len(DILATIONS)}"
            )
        width = out_channels // len(DILATIONS)
        self.project = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width)
        self.act = nn.PReLU(width)
        self.branches = nn.ModuleList(
            DifferenceConv2d(width, width, 3, stride=stride, dilation=dilation, theta=theta)
            for dilation in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        z = cast("Tensor", self.act(self.norm(self.project(x))))
        sums = [cast("Tensor", self.branches[0](z))]
        for branch in list(self.branches)[1:]:
            sums.append(sums[-1] + branch(z))
        return torch.cat(sums, dim=1)

    def fold(self) -> None:
        """Turn every branch into an ordinary convolution and absorb the norm, in place."""
        for index, branch in enumerate(self.branches):
            if isinstance(branch, DifferenceConv2d):
                self.branches[index] = branch.fold()
        if isinstance(self.norm, nn.BatchNorm2d):
            self.project = fuse_conv_bn_eval(self.project, self.norm)
            self.norm = nn.Identity()


class GradientNorm(nn.Module):
    """A gradient aggregation module and the batch norm and ReLU of the convolution it replaces."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, theta: float
    ) -> None:
        super().__init__()
        self.gather = MGA(in_channels, out_channels, stride=stride, theta=theta)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``."""
        return functional.relu(self.norm(self.gather(x)), inplace=True)
