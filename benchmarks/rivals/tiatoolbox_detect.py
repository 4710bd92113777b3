"""TIAToolbox 2.1: NucleusDetector with a network of our own; the centre of a tile is kept."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import benchmarks.rivals.torchvision_shim  # noqa: F401 - before what imports torchvision

# isort: split
import numpy as np
import torch
from tiatoolbox.models.architecture.utils import peak_detection_map_overlap
from tiatoolbox.models.engine.io_config import IOSegmentorConfig
from tiatoolbox.models.engine.nucleus_detector import NucleusDetector
from tiatoolbox.models.models_abc import ModelABC

from benchmarks.nets import make_net
from benchmarks.rivals.measured import (
    BATCH,
    CROP_PX,
    DISTANCE_PX,
    THRESHOLD,
    TILE_PX,
    Forward,
    keep,
    options,
)

POST_TILE_PX = 2048
CLASSES = {0: "positive", 1: "negative"}
MARGIN_PX = (TILE_PX - CROP_PX) // 2


class Net(ModelABC):
    """The network in the form that TIAToolbox asks for."""

    forward_timer: Forward

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net
        self.min_distance, self.threshold_abs = DISTANCE_PX, THRESHOLD
        self.tile_shape = (POST_TILE_PX, POST_TILE_PX)
        self.class_dict = CLASSES

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Predict."""
        return self.net(pixels)

    def postproc(
        self,
        block: Any,
        min_distance: int | None = None,
        threshold_abs: float | None = None,
        threshold_rel: float | None = None,
        block_info: Any = None,
        depth_h: int = 0,
        depth_w: int = 0,
    ) -> Any:
        """Find the peaks of one block; dask hands in what is named in the signature."""
        return peak_detection_map_overlap(
            block,
            min_distance=self.min_distance if min_distance is None else min_distance,
            threshold_abs=self.threshold_abs if threshold_abs is None else threshold_abs,
            threshold_rel=threshold_rel,
            block_info=block_info,
            depth_h=depth_h,
            depth_w=depth_w,
            return_probability=False,
        )

    @staticmethod
    def infer_batch(_model: Any, batch_data: torch.Tensor, *, device: str) -> Any:
        """Predict one batch and keep the centres."""
        pixels = batch_data.to(device=device, dtype=torch.float32).permute(0, 3, 1, 2).contiguous()
        kept = Net.forward_timer(pixels)[:, :, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        return kept.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def main() -> None:
    """Run."""
    asked = options()
    shutil.rmtree(asked.out / "made", ignore_errors=True)
    begun = time.perf_counter()
    net = make_net(asked.net)
    Net.forward_timer = Forward(net)
    detector = NucleusDetector(
        model=Net(net), batch_size=BATCH, num_workers=0, device="cpu", verbose=False
    )
    full = {"units": "mpp", "resolution": 0.25}
    made = detector.run(
        images=[Path(asked.slide)],
        patch_mode=False,
        ioconfig=IOSegmentorConfig(
            input_resolutions=[full],
            output_resolutions=[full],
            patch_input_shape=(TILE_PX, TILE_PX),
            patch_output_shape=(CROP_PX, CROP_PX),
            stride_shape=(CROP_PX, CROP_PX),
            save_resolution=full,
        ),
        save_dir=asked.out / "made",
        overwrite=True,
        output_type="qupath",
        auto_get_mask=True,
        memory_threshold=80,
        class_dict=CLASSES,
        device="cpu",
    )
    features = json.loads(Path(next(iter(made.values()))).read_text(encoding="utf-8"))["features"]
    points = np.array(
        [[*one["geometry"]["coordinates"][:2], one["class_value"]] for one in features], float
    )
    keep(asked.out, points.reshape(-1, 3), Net.forward_timer, begun)


if __name__ == "__main__":
    main()
