"""The head: branches brought to 1/4, joined, and enlarged to a full-resolution heatmap."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.folded_layers import Activated
from pipeline.model.hrnet import upsample
from pipeline.model.layers import ConvNorm


class Join(nn.Module):
    """Enlarge every branch to the finest, stack them, mix them with a 1x1 convolution."""

    def __init__(self, widths: Sequence[int], joined: int) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.mix = ConvNorm(sum(widths), joined, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map branches ``(N, width_b, h / 2**b, w / 2**b)`` to ``(N, joined, h, w)``."""
        size = features[0].shape[-2:]
        stacked = torch.cat([features[0], *(upsample(x, size) for x in features[1:])], dim=1)
        return cast("Tensor", self.mix(stacked))


class EarlyJoin(nn.Module):
    """A folded :class:`Join` that mixes before it enlarges.

    A 1x1 convolution and bilinear enlargement commute (one works along channels, the other along
    the plane, and its weights add up to one), so coarse branches are mixed while they are small.
    """

    def __init__(self, join: Join) -> None:
        super().__init__()
        mix, parts = join.mix.conv, []
        for index, weight in enumerate(torch.split(mix.weight.detach(), list(join.widths), dim=1)):
            part = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=index == 0)
            part.weight = nn.Parameter(weight.clone())
            if index == 0 and mix.bias is not None:
                part.bias = nn.Parameter(mix.bias.detach().clone())
            parts.append(part)
        self.finest, self.coarse = Activated(parts[0]), nn.ModuleList(parts[1:])

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map branches ``(N, width_b, h / 2**b, w / 2**b)`` to ``(N, joined, h, w)``."""
        size = features[0].shape[-2:]
        mixed = (upsample(part(x), size) for part, x in zip(self.coarse, features[1:], strict=True))
        total = next(mixed)
        for further in mixed:
            total += further
        return cast("Tensor", self.finest(features[0], total))


class HeatmapHead(nn.Module):
    """Join the branches and enlarge them four times with two transposed convolutions.

    Parameters
    ----------
    widths
        Channels of the branches, finest first.
    channels
        Channels of the heatmap.
    joined
        Channels after the 1x1 convolution; the paper's is the sum of ``widths``.
    middle
        Channels between the two enlargements; the paper's is 64.
    """

    def __init__(self, widths: Sequence[int], channels: int, *, joined: int, middle: int) -> None:
        super().__init__()
        self.join: nn.Module = Join(widths, joined)
        self.enlarge = nn.ConvTranspose2d(joined, middle, 4, stride=2, padding=1)
        self.finish = nn.ConvTranspose2d(middle, channels, 4, stride=2, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map branches ``(N, width_b, h / 2**b, w / 2**b)`` to ``(N, channels, 4 h, 4 w)``."""
        x = functional.relu(self.enlarge(self.join(features)), inplace=True)
        heatmap: Tensor = self.finish(x)
        return heatmap

    def fold(self) -> None:
        """Mix the branches before enlarging them, in place (the join is folded already)."""
        if isinstance(self.join, Join):
            self.join = EarlyJoin(self.join)
