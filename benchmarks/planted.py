"""Seeded peak pixels, as dense as cells are, for kernels that settle cells."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks
from pipeline.core.seams import settle_region
from pipeline.core.tiling import RegionGrid

PIXELS_PER_CELL = 400


def planted_peaks(count: int) -> Peaks:
    """About ``count`` peak pixels on a square plane; now and then two touch, as on a plateau."""
    rng = np.random.default_rng(7)
    side = int((count * PIXELS_PER_CELL) ** 0.5)
    flat = np.unique(rng.integers(0, side * side, count))
    row, col = np.divmod(flat, side)
    return Peaks(
        col + 0.5,
        row + 0.5,
        col.astype(np.int32),
        row.astype(np.int32),
        rng.random(len(flat), dtype=np.float32),
        rng.integers(0, 2, len(flat), dtype=np.uint8),
    )


def regions_alike(
    grid: RegionGrid, heatmap: NDArray[np.float32], *, window: int, floor: float
) -> list[tuple[Peaks, Peaks]]:
    """Settled and undecided peaks of every region of a grid whose regions all have one heatmap."""
    sizes = {"plane_width": grid.lattice.width, "plane_height": grid.lattice.height}
    return [
        settle_region(heatmap, region.box, window=window, floor=floor, **sizes) for region in grid
    ]
