"""The inference form of a network: difference convolutions and norms folded into convolutions."""

from copy import deepcopy
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from pipeline.model.folded_layers import Activated, in_float32, in_folded_form
from pipeline.model.registry import HeatmapNetwork


@runtime_checkable
class Foldable(Protocol):
    """A module that can absorb its own norms and difference convolutions in place."""

    def fold(self) -> None:
        """Fold in place."""


def fold_network(network: HeatmapNetwork, *, in_place: bool = False) -> HeatmapNetwork:
    """Return a frozen copy with the same output, faster to run; ``network`` is not touched.

    Folding is exact algebra on the weights, so heatmaps agree to float32 rounding. The copy is in
    evaluation mode, channels-last, without gradients. Its last layer stays in float32 under
    autocast: in 8 bits of mantissa neighbouring pixels of a peak would often be equal.

    Parameters
    ----------
    in_place
        Use ``network`` up: a copy takes as long as everything else here.
    """
    folded = (network if in_place else deepcopy(network)).eval()
    # innermost first: a parent may take apart what its children have already simplified
    for module in reversed(list(folded.modules())):
        # a bare nn.Conv2d-like layer whose fold() returns a layer belongs to its parent
        if isinstance(module, Foldable) and not isinstance(module, nn.Conv2d):
            module.fold()
    for module in list(folded.modules()):
        if isinstance(module, Activated):
            continue
        for name, layer in list(module.named_children()):
            setattr(module, name, in_folded_form(layer))
    folded.head.finish = in_float32(folded.head.finish)  # type: ignore[assignment]
    folded.requires_grad_(False)
    nn.utils.convert_conv2d_weight_memory_format(folded, torch.channels_last)
    return folded
