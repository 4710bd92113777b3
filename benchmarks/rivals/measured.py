"""What the scripts of rivals share: options, forward timed inside, points and figures out."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

TILE_PX = 512
STRIDE_PX = 448
CROP_PX = 416
"""Centre of a tile that is kept where a pipeline can do so."""
BATCH = 8
DISTANCE_PX = 12
THRESHOLD = 0.175


class Forward:
    """A network with its own time; what it gives is on the CPU."""

    def __init__(self, net: torch.nn.Module, device: str = "cpu") -> None:
        self.device = device
        self.net, self.wall_s, self.cpu_s, self.tiles = net.to(device), 0.0, 0.0, 0

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Predict one batch."""
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            heatmaps: torch.Tensor = self.net(pixels.to(self.device)).cpu()
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu
        self.tiles += len(pixels)
        return heatmaps


def options() -> argparse.Namespace:
    """Slide, output folder, network, threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("slide", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--net", default="toy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    return asked


def keep(out: Path, points: np.ndarray[Any, Any], forward: Forward, begun: float) -> None:
    """Write ``(x, y, channel)`` and the figures of one run; ``begun`` is after the imports."""
    np.save(out / "points.npy", points)
    figures = {
        "run_s": time.perf_counter() - begun,
        "forward_s": forward.wall_s,
        "forward_cpu_s": forward.cpu_s,
        "tiles": forward.tiles,
        "points": len(points),
    }
    (out / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
