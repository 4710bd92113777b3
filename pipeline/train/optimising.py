"""The pieces of one step: the loss, the optimiser, the learning rate, the averaged weights."""

import math

import torch
from torch import Tensor

from pipeline.model.registry import HeatmapNetwork
from pipeline.train.config import TrainConfig
from pipeline.train.crops import Batch


def summed_error(heatmap: Tensor, batch: Batch) -> Tensor:
    """Squared error summed over pixels and channels, mean over the batch.

    Where classes are unknown, the maximum over the channels is compared instead.
    """
    by_channel = (heatmap - batch.targets).square().sum(dim=(1, 2, 3))
    if batch.classed is None:
        return by_channel.mean()
    unified = (heatmap.amax(dim=1) - batch.targets.amax(dim=1)).square().sum(dim=(1, 2))
    return torch.where(batch.classed, by_channel, unified).mean()


def make_optimizer(network: HeatmapNetwork, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay, or with the coupled one of the published code."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    if config.device == "cuda":
        # the rate lies on the device: a captured step reads it there
        return kind(
            network.parameters(),
            lr=torch.tensor(config.lr, device="cuda"),
            weight_decay=config.weight_decay,
            capturable=True,
            fused=True,
        )
    # fused or joined kernels would differ between builds
    return kind(network.parameters(), lr=config.lr, weight_decay=config.weight_decay, foreach=False)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then cosine to a hundredth or a drop at 2/3."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    if config.schedule == "step":
        return config.lr * (0.1 if done >= 2 / 3 else 1.0)
    return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def average_weights(
    averaged: HeatmapNetwork, network: HeatmapNetwork, decay: float, step: int
) -> None:
    """Move averaged weights and norm statistics towards the network's, faster at first."""
    rate = 1 - min(decay, (1 + step) / (10 + step))
    means, values = averaged.state_dict().values(), network.state_dict().values()
    pairs = list(zip(means, values, strict=True))
    moving = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([mean for mean, _ in moving], [value for _, value in moving], rate)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)
