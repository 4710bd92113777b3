"""Forms that single layers take once a network is folded: the same map, quicker on a processor."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.layers import ConvNorm

BAND_ROWS = 32
"""Rows of the smaller plane that a processor works on at once: they stay in its cache."""
REGISTER_CHANNELS = 16
"""Channels that a processor's kernels work on at once, whether there are as many or not."""
ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
"""Whether torch was built with it."""
FUSES = ONEDNN and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")
"""Whether this torch hands oneDNN what follows a convolution as well; its own compiler does."""
_TAPS = ((3, 1), (2, 0))
"""Rows of a 4x4 kernel that an even and an odd row of the enlarged plane see, upper one first."""


def in_folded_form(layer: nn.Module) -> nn.Module:
    """Return the form of one layer, the layer itself where it has none."""
    if isinstance(layer, ConvNorm) and isinstance(layer.act, nn.ReLU):
        return Activated(layer.conv)
    if isinstance(layer, nn.Conv2d) and _is_pointwise(layer):
        return Pointwise(layer)
    if isinstance(layer, nn.ConvTranspose2d) and _has_phases(layer):
        return PhasedEnlarge(layer)
    return layer


def in_float32(layer: nn.Module) -> nn.Module:
    """Return a form of a layer that autocast leaves in float32."""
    return layer if isinstance(layer, PhasedEnlarge) else InFloat32(layer)


class InFloat32(nn.Module):
    """A layer that autocast leaves in float32."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map what the layer maps, enlarged to float32 before."""
        with torch.autocast(x.device.type, enabled=False):
            made: Tensor = self.layer(x.float())
        return made


class Activated(nn.Module):
    """A convolution and the ReLU after it, on a processor in one pass over what they write."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, h, w)``.

        Parameters
        ----------
        residual
            ``(N, out, h, w)``, added before the ReLU. It is used up: the sum is written over it.
        """
        conv, dtype = self.conv, _fused_type(x)
        if dtype is None:
            made = conv(x) if residual is None else conv(x).add_(residual)
            return functional.relu(made, inplace=True)
        bias = None if conv.bias is None else conv.bias.to(dtype)
        # only in this layout is all of it fused
        kernel = (_channels_last(x.to(dtype)), conv.weight.to(dtype), bias)
        shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        if residual is None:
            plain = torch.ops.mkldnn._convolution_pointwise
            return cast("Tensor", plain(*kernel, *shape, "relu", [], ""))
        added = torch.ops.mkldnn._convolution_pointwise_.binary
        total = _channels_last(residual.to(dtype))
        return cast("Tensor", added(total, *kernel, *shape, "add", 1.0, "relu", [], ""))


def _fused_type(x: Tensor) -> torch.dtype | None:
    """In which type oneDNN convolves and activates this at once; None where it does not."""
    if not FUSES or x.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return dtype
    return dtype if dtype == torch.float32 else None


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class Pointwise(nn.Module):
    """A 1x1 convolution by oneDNN, which torch leaves for its slower own on a single thread."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H, W)``."""
        layer = self.layer
        if ONEDNN and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return torch.mkldnn_convolution(x, layer.weight, layer.bias, (0, 0), (1, 1), (1, 1), 1)
        found: Tensor = layer(x)
        return found


class PhasedEnlarge(nn.Module):
    """A transposed 4x4 convolution that doubles the plane, as one of 2x2 that gives four phases.

    A pixel of the larger plane sees 2x2 of the smaller; which, and through which taps, its phase
    says: even or odd row, even or odd column. Where the channels of all four fill a processor's
    registers no better than those of one, this takes a third of the time. It works in its weights'
    type whatever autocast says, and casts band by band.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.channels = layer.out_channels
        self.phases = nn.Conv2d(layer.in_channels, 4 * layer.out_channels, 2, padding=(0, 1))
        kernels = [
            layer.weight[:, :, list(rows)][:, :, :, list(cols)] for rows in _TAPS for cols in _TAPS
        ]
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
        with torch.no_grad():
            self.phases.weight.copy_(torch.cat(kernels, dim=1).transpose(0, 1))
            self.phases.bias = nn.Parameter(bias.detach().repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, 2 H, 2 W)`` float32, one plane after the other."""
        number, _, height, width = x.shape
        enlarged = x.new_empty(
            (number, self.channels, 2 * height, 2 * width), dtype=self.phases.weight.dtype
        )
        rows = band_rows(x, height)
        with torch.autocast(x.device.type, enabled=False):
            for top in range(0, height, rows):
                bottom = min(top + rows, height)
                band = rows_of(x, top - 1, bottom + 1).to(enlarged.dtype)
                phases = self.phases(band).unflatten(1, (2, 2, self.channels))
                for row in (0, 1):
                    for col in (0, 1):
                        enlarged[:, :, 2 * top + row : 2 * bottom + row : 2, col::2] = phases[
                            :, row, col, :, row : row + bottom - top, col : col + width
                        ]
        return enlarged


def band_rows(x: Tensor, height: int) -> int:
    """Rows of a plane of ``height`` rows to work on at once.

    All of them on a device, and where several threads share them: oneDNN divides a band among
    threads so that some sums come out in another order.
    """
    return BAND_ROWS if x.device.type == "cpu" and torch.get_num_threads() == 1 else height


def rows_of(plane: Tensor, top: int, bottom: int) -> Tensor:
    """Rows ``top`` to ``bottom`` of ``(N, C, H, W)``, zeros where there are none."""
    height = plane.shape[2]
    first, last = max(top, 0), min(bottom, height)
    inside = plane[:, :, first:last]
    if (first, last) == (top, bottom):
        return inside
    return functional.pad(inside, (0, 0, first - top, bottom - last))


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1


def _has_phases(layer: nn.ConvTranspose2d) -> bool:
    usual = (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
    plain = layer.groups == 1 and layer.output_padding == (0, 0) and layer.dilation == (1, 1)
    return usual and plain and 4 * layer.out_channels <= REGISTER_CHANNELS
