"""By hand, as a laboratory would: tiles with overlap, peaks per tile, close ones dropped."""

import json
import time
from typing import Any

import numpy as np
import openslide
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

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


def tissue_tiles(slide: openslide.OpenSlide) -> list[tuple[int, int]]:
    """Corners of the tiles that hold something coloured."""
    level = slide.level_count - 1
    scale = slide.level_downsamples[level]
    small = slide.read_region((0, 0), level, slide.level_dimensions[level])
    saturation = ndimage.median_filter(np.asarray(small.convert("HSV"))[..., 1], 5)
    tissue = ndimage.binary_dilation(saturation > threshold_otsu(saturation), iterations=2)
    width, height = slide.dimensions
    return [
        (x, y)
        for y in range(0, height, STRIDE_PX)
        for x in range(0, width, STRIDE_PX)
        if tissue[
            int(y / scale) : int((y + TILE_PX) / scale) + 1,
            int(x / scale) : int((x + TILE_PX) / scale) + 1,
        ].any()
    ]


def apart(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Drop the weaker of two peaks of one channel nearer than the distance."""
    points = points[np.argsort(-points[:, 3], kind="stable")]
    alive = np.ones(len(points), bool)
    for channel in (0, 1):
        index = np.flatnonzero(points[:, 2] == channel)
        tree = cKDTree(points[index, :2])
        for place, near in enumerate(tree.query_ball_point(points[index, :2], DISTANCE_PX)):
            if alive[index[place]]:
                alive[index[[other for other in near if other > place]]] = False
    return points[alive]


def main() -> None:
    """Run."""
    asked = options()
    begun = time.perf_counter()
    forward = Forward(make_net(asked.net), asked.device)
    slide = openslide.OpenSlide(asked.slide)
    corners = tissue_tiles(slide)
    found: list[tuple[float, float, int, float]] = []
    for start in range(0, len(corners), BATCH):
        some = corners[start : start + BATCH]
        tiles = [slide.read_region(at, 0, (TILE_PX, TILE_PX)).convert("RGB") for at in some]
        pixels = torch.from_numpy(np.stack([np.asarray(tile) for tile in tiles]))
        heatmaps = forward(pixels.permute(0, 3, 1, 2).float().contiguous()).numpy()
        for (x, y), heatmap in zip(some, heatmaps, strict=True):
            for channel, values in enumerate(heatmap):
                peaks = peak_local_max(
                    values, min_distance=DISTANCE_PX, threshold_abs=THRESHOLD, exclude_border=False
                )
                found += [(x + c, y + r, channel, float(values[r, c])) for r, c in peaks]
    points = apart(np.array(found).reshape(-1, 4))
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [x, y]},
            "properties": {"classification": {"name": ("Positive", "Negative")[int(channel)]}},
        }
        for x, y, channel, _ in points.tolist()
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (asked.out / "points.geojson").write_text(text, encoding="utf-8")
    keep(asked.out, points, forward, begun)


if __name__ == "__main__":
    main()
