"""A tiny network of random weights: its peaks are real, many, and depend on a wide surround."""

from pathlib import Path

import torch

from pipeline.model.card import ModelCard
from pipeline.model.checkpoint import save_checkpoint
from pipeline.model.registry import build_network
from pipeline.model.spec import network_spec


def save_tiny_network(folder: Path, *, seed: int = 1) -> Path:
    """Write the checkpoint, the same in every process, and return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(network_spec("m_hrnet_tiny")).eval()
    card = ModelCard(
        name="tiny",
        spec=network.spec,
        mpp_um=0.5,
        threshold=2.5,
        floor=1.0,
        halo_px=32,
        population="random peaks",
        caveat="a random network for tests",
        sources=(),
        licence="Apache-2.0",
        created="2026-01-01",
    )
    save_checkpoint(folder, network, card)
    return folder
