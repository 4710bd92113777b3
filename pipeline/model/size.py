"""How large a network is: trainable values and multiply-adds."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.model.registry import build_network
from pipeline.model.spec import NetworkSpec


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """One network's size; multiply-adds of one square image."""

    spec: NetworkSpec
    parameters: int
    multiply_adds: int


def network_sizes(specs: Iterable[NetworkSpec], *, side_px: int) -> list[NetworkSize]:
    """Count what each network holds and computes, without giving it any memory."""
    sizes = []
    for spec in specs:
        with torch.device("meta"):
            network = build_network(spec)
        macs = multiply_adds(network, side_px=side_px)
        sizes.append(NetworkSize(spec, parameter_count(network), macs))
    return sizes


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, *, side_px: int) -> int:
    """Count the multiply-adds of the convolutions on one square image of ``side_px`` pixels.

    The network's mode, weights and running statistics are left as they are.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side_px, side_px, device=device))
    network.train(training)
    return int(counter.get_total_flops()) // 2
