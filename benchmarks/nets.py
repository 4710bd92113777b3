"""The networks that every pipeline of the side-by-side benchmark is given.

``toy`` costs next to nothing and shows what an engine costs: colour to two stain channels, then a
difference of Gaussians at a quarter of the resolution, enlarged bilinearly. It has no plateaus, so
that peaks are unambiguous. ``hrnet`` has the cost of a real network, the W18 of this package with
random weights and batch norms unfolded, its output bounded and added to the toy with a weight of
1e-9: the same cells. ``w18`` is that W18 alone as this package keeps its networks, for what ONNX
Runtime cannot do (``--set prediction.dtype=bfloat16``); its last layer is zero: it finds no cell.

Input ``(N, 3, H, W)`` float32, 0 to 255; output ``(N, 2, H, W)``, positive and negative, 0 to 1.

    python -m benchmarks.nets FOLDER       all as model folders of this package (needs onnx)
"""

import argparse
import hashlib
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

NAMES = ("toy", "hrnet", "w18")
MPP_UM = 0.25
THRESHOLD = 0.175
RADIUS_UM = 3.0
"""12 pixels."""
MARGIN_PX = 64
"""More than the toy's receptive field of 56 pixels on either side."""


class Toy(nn.Module):
    """Fixed weights that find nuclei of 7 micrometres at 0.25 micrometres a pixel."""

    def __init__(self) -> None:
        super().__init__()
        for name, sigma in (("narrow", 2.6), ("wide", 5.2)):
            place = torch.arange(-10, 11, dtype=torch.float32)
            bell = torch.exp(-(place**2) / (2 * sigma**2))
            kernel = (bell / bell.sum()).repeat(2, 1)
            self.register_buffer(f"{name}_rows", kernel[:, None, :, None].clone())
            self.register_buffer(f"{name}_cols", kernel[:, None, None, :].clone())

    def _blurred(self, stains: Tensor, name: str) -> Tensor:
        rows, cols = self.get_buffer(f"{name}_rows"), self.get_buffer(f"{name}_cols")
        return functional.conv2d(functional.conv2d(stains, rows, groups=2), cols, groups=2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the heatmap."""
        small = functional.avg_pool2d(pixels, 4) / 255.0
        red, blue = small[:, 0:1], small[:, 2:3]
        dark = (0.72 - small.mean(dim=1, keepdim=True)).clamp(min=0)
        bluish = torch.sigmoid((blue - red) * 25)
        stains = torch.cat([dark * (1 - bluish), dark * bluish], dim=1)
        stains = functional.pad(stains, (10, 10, 10, 10), mode="replicate")
        peaks = ((self._blurred(stains, "narrow") - self._blurred(stains, "wide")) * 4).clamp(0, 1)
        return functional.interpolate(peaks, scale_factor=4, mode="bilinear", align_corners=False)


class Costly(nn.Module):
    """A W18 high-resolution network whose output hardly counts, and the toy."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _w18()
        self.toy = Toy()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the heatmap."""
        heatmap: Tensor = self.toy(pixels) + 1e-9 * torch.tanh(self.body(pixels))
        return heatmap


def _w18() -> nn.Module:
    from pipeline.model.registry import build_network, network_spec

    torch.manual_seed(0)
    return build_network(network_spec("hrnet_w18"))


def make_net(name: str) -> nn.Module:
    """Return one of the networks, ready to predict."""
    if name == "w18":
        network = _w18()
        nn.init.zeros_(network.head.finish.weight)  # type: ignore[arg-type, union-attr]
        nn.init.zeros_(network.head.finish.bias)  # type: ignore[arg-type, union-attr]
    else:
        network = Toy() if name == "toy" else Costly()
    return network.eval().requires_grad_(requires_grad=False)


def save_model(folder: Path, name: str) -> None:
    """Write a network as a model folder: its card, and weights or an ONNX file with free axes."""
    card: dict[str, object] = {
        "name": name,
        "mpp_um": MPP_UM,
        "threshold": THRESHOLD,
        "floor": THRESHOLD,
        "nms_radius_um": RADIUS_UM,
        "halo_px": MARGIN_PX,
        "population": "dark blobs of a benchmark",
        "caveat": "a network for measuring speed",
        "sources": [],
        "licence": "Apache-2.0",
        "created": "2026-11-28",
    }
    folder.mkdir(parents=True, exist_ok=True)
    if name == "w18":
        from pipeline.model.card import ModelCard
        from pipeline.model.checkpoint import save_checkpoint
        from pipeline.model.registry import network_spec

        spec = network_spec("hrnet_w18").model_dump()
        save_checkpoint(folder, make_net(name), ModelCard.model_validate(card | {"spec": spec}))
        return
    free = {0: "n", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            make_net(name),
            (torch.zeros(1, 3, 256, 256),),
            folder / "network.onnx",
            dynamo=False,
            input_names=["pixels"],
            output_names=["heatmap"],
            dynamic_axes={"pixels": free, "heatmap": free},
        )
    card["weights_sha256"] = hashlib.sha256((folder / "network.onnx").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Write all model folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    for name in NAMES:
        save_model(asked.folder / name, name)
        print(asked.folder / name)


if __name__ == "__main__":
    main()
