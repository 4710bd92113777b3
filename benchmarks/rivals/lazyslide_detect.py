"""LazySlide 0.13: seg.cells with a network of our own; a peak becomes a small disc."""

import time
from typing import Any

import benchmarks.rivals.torchvision_shim  # noqa: F401 - before what imports torchvision

# isort: split
import lazyslide
import numpy as np
import torch
from lazyslide_models.base import SegmentationModel, SegmentationOutput
from skimage.feature import peak_local_max
from wsidata import open_wsi

from benchmarks.nets import make_net
from benchmarks.rivals.measured import (
    BATCH,
    DISTANCE_PX,
    STRIDE_PX,
    THRESHOLD,
    TILE_PX,
    Forward,
    keep,
    options,
)

DISC = np.argwhere(np.hypot(*np.mgrid[-4:5, -4:5]) <= 4.2) - 4


class Model(SegmentationModel):
    """The network in the form that LazySlide asks for."""

    name = "own"

    def __init__(self, net: torch.nn.Module) -> None:
        self.model, self.forward = net, Forward(net)

    def to(self, device: str) -> "Model":
        """Move it."""
        self.model.to(device)
        return self

    def try_compile(self, **_: Any) -> None:
        """Leave it as it is."""

    def get_transform(self) -> Any:
        """Return what makes an input of a tile."""
        return lambda image: torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()

    def segment(self, image: torch.Tensor) -> SegmentationOutput:
        """Predict a batch, and number a disc about each peak."""
        heatmaps = self.forward(image).numpy()
        numbered = np.zeros((len(heatmaps), *heatmaps.shape[2:]), np.int32)
        background = np.full_like(heatmaps[:, :1], 1e-3)
        for place, channels in zip(numbered, heatmaps, strict=True):
            peaks = [
                peak
                for values in channels
                for peak in peak_local_max(
                    values, min_distance=DISTANCE_PX, threshold_abs=THRESHOLD, exclude_border=False
                )
            ]
            for number, peak in enumerate(peaks, 1):
                disc = DISC + peak
                disc = disc[((disc >= 0) & (disc < place.shape)).all(axis=1)]
                place[disc[:, 0], disc[:, 1]] = number
        probability = np.concatenate([background, heatmaps], axis=1)
        return SegmentationOutput(probability_map=probability, instance_map=numbered)


def main() -> None:
    """Run."""
    asked = options()
    begun = time.perf_counter()
    model = Model(make_net(asked.net))
    slide = open_wsi(str(asked.slide))
    lazyslide.pp.find_tissues(slide)
    lazyslide.pp.tile_tissues(
        slide, TILE_PX, stride_px=STRIDE_PX, mpp=0.25, edge=True, background_filter=False
    )
    lazyslide.seg.cells(
        slide, model, batch_size=BATCH, device="cpu", pbar=False, overlap_ownership=True
    )
    cells = slide["cells"]
    centres = cells.geometry.centroid
    cells.assign(geometry=centres).to_file(asked.out / "points.geojson", driver="GeoJSON")
    channel = [int(float(name)) - 1 for name in cells["class"].astype(str)]
    points = np.column_stack([centres.x, centres.y, channel])
    keep(asked.out, points, model.forward, begun)


if __name__ == "__main__":
    main()
