"""The head: branches brought to 1/4, joined, and enlarged to a full-resolution heatmap."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.hrnet import initialise, upsample
from pipeline.model.layers import ConvNorm

FINAL_GAIN = 0.05


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
        self.join = ConvNorm(sum(widths), joined, 1)
        self.enlarge = nn.ConvTranspose2d(joined, middle, 4, stride=2, padding=1)
        self.finish = nn.ConvTranspose2d(middle, channels, 4, stride=2, padding=1)

    def initialise(self) -> None:
        """Draw the weights; the last layer starts near zero, where most of a heatmap lies."""
        initialise(self)
        with torch.no_grad():
            self.finish.weight.mul_(FINAL_GAIN)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map branches ``(N, width_b, h / 2**b, w / 2**b)`` to ``(N, channels, 4 h, 4 w)``, linear."""
        size = features[0].shape[-2:]
        stacked = torch.cat([features[0], *(upsample(x, size) for x in features[1:])], dim=1)
        x = functional.relu(self.enlarge(self.join(stacked)), inplace=True)
        heatmap: Tensor = self.finish(x)
        return heatmap
