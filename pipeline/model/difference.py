"""The difference convolution: a convolution that also looks at contrast to its centre."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ModelError


class DifferenceConv2d(nn.Conv2d):
    """Convolve, and subtract ``theta`` times the kernel's sum times the centre pixel.

    ``y = conv(x; w) - theta * sum(w) * x(centre)``. The second term is the same convolution's
    centre tap, so the whole is one ordinary convolution with centre ``w_c - theta * sum(w)``, at
    borders too. A bias would have to be left out of the difference, so there is none.

    Parameters
    ----------
    in_channels, out_channels
        Channels read and written.
    kernel_size
        Odd side of the square kernel.
    stride, dilation
        As of an ordinary convolution; padding keeps the plane's size at stride 1.
    theta
        In [0, 1]: 0 is an ordinary convolution, 1 is blind to a constant input.

    Raises
    ------
    ModelError
        If the kernel side is even (it has no centre) or theta lies outside [0, 1].

    References
    ----------
    Yu et al., Searching central difference convolutional networks, CVPR 2020; Li et al.,
    Exponential distance transform maps for cell localization, EAAI 2024.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        theta: float = 0.7,
    ) -> None:
        if kernel_size % 2 == 0:
            raise ModelError(f"difference convolution: kernel_size={kernel_size} is even, not odd")
        if not 0.0 <= theta <= 1.0:
            raise ModelError(f"difference convolution: theta={theta} is outside [0, 1]")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            bias=False,
        )
        self.theta = theta

    def folded_weight(self) -> Tensor:
        """Return the ordinary kernel ``(out, in, k, k)`` of the same map; differentiable."""
        centre = self.kernel_size[0] // 2
        tap = functional.pad(self.weight.sum(dim=(2, 3), keepdim=True), [centre] * 4)
        return self.weight - self.theta * tap

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name of nn.Conv2d.forward)
        """Map ``(N, in, H, W)`` to ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        return cast("Tensor", self._conv_forward(input, self.folded_weight(), None))

    def fold(self) -> nn.Conv2d:
        """Return an ordinary convolution with the same output."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            (self.kernel_size[0], self.kernel_size[1]),
            stride=(self.stride[0], self.stride[1]),
            padding=(self.dilation[0] * (self.kernel_size[0] // 2),) * 2,
            dilation=(self.dilation[0], self.dilation[1]),
            bias=False,
        )
        plain = plain.to(device=self.weight.device, dtype=self.weight.dtype)
        with torch.no_grad():
            plain.weight.copy_(self.folded_weight())
        return plain
