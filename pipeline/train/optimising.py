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
    target = torch.from_numpy(batch.targets).to(heatmap.device)
    classed = torch.from_numpy(batch.classed).to(heatmap.device)
    by_channel = (heatmap - target).square().sum(dim=(1, 2, 3))
    if bool(classed.all()):
        return by_channel.mean()
    unified = (heatmap.amax(dim=1) - target.amax(dim=1)).square().sum(dim=(1, 2))
    return torch.where(classed, by_channel, unified).mean()


def make_optimizer(network: HeatmapNetwork, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay, or with the coupled one of the published code."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    # fused or joined kernels would differ between builds
    return kind(network.parameters(), lr=config.lr, weight_decay=config.weight_decay, foreach=False)


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
    with torch.no_grad():
        for mean, value in zip(
            averaged.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, rate)
            else:
                mean.copy_(value)
