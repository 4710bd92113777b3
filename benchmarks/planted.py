"""Seeded peak pixels, as dense as cells are, for kernels that settle cells."""

import numpy as np

from pipeline.core.ccls import Peaks

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
