"""The bricks the networks are built of: convolution, batch norm, activation."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """A bias-free square convolution, its batch norm and, where asked for, a ReLU.

    Keeping the pair in one module makes folding a local rule: after :meth:`fold` the norm is gone
    and the convolution carries its bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        side: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            side,
            stride=stride,
            padding=dilation * (side // 2),
            dilation=dilation,
            bias=False,
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.act: nn.Module = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``."""
        return cast("Tensor", self.act(self.norm(self.conv(x))))

    def fold(self) -> None:
        """Absorb the norm's running statistics into the convolution, in place (evaluation only)."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class DeconvNorm(nn.Module):
    """A transposed 4x4 convolution that doubles the plane, its batch norm and a ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, 4, stride=2, padding=1, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, 2 H, 2 W)``."""
        return functional.relu(self.norm(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Absorb the norm's running statistics into the convolution, in place (evaluation only)."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm, transpose=True)
            self.norm = nn.Identity()
