"""Periodic noise: smooth maps over the plane in um, and pixel textures; all from a seed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]

LATTICE = 256
SMOOTH = 1.8


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMap:
    """Smooth unit-variance noise over the plane, bilinear between lattice nodes, periodic."""

    nodes: F32
    step_um: float

    def at(self, x_um: F64, y_um: F64) -> F32:
        """Values at points, float32 (n,)."""
        col, fx = _split(x_um, self.step_um)
        row, fy = _split(y_um, self.step_um)
        row1, col1 = (row + 1) % LATTICE, (col + 1) % LATTICE
        low = self.nodes[row, col] * (1 - fx) + self.nodes[row, col1] * fx
        high = self.nodes[row1, col] * (1 - fx) + self.nodes[row1, col1] * fx
        return np.asarray(low * (1 - fy) + high * fy, np.float32)

    def grid(self, x_um: F64, y_um: F64) -> F32:
        """Values on the grid of `y_um` (h,) rows by `x_um` (w,) columns, float32 (h, w)."""
        col, fx = _split(x_um, self.step_um)
        row, fy = _split(y_um, self.step_um)
        used = np.unique(np.concatenate([row, (row + 1) % LATTICE]))
        place = np.zeros(LATTICE, np.intp)
        place[used] = np.arange(used.size)
        few = self.nodes[used]
        wide = few[:, col] * (1 - fx) + few[:, (col + 1) % LATTICE] * fx
        low, high = wide[place[row]], wide[place[(row + 1) % LATTICE]]
        return np.asarray(low + (high - low) * fy[:, None], np.float32)


def _split(values_um: F64, step_um: float) -> tuple[Index, F32]:
    """Lattice index and fraction of every value."""
    position = values_um / step_um
    whole = np.floor(position)
    return whole.astype(np.intp) % LATTICE, (position - whole).astype(np.float32)


@lru_cache(maxsize=64)
def noise_map(seed: int, stream: int, scale_um: float) -> NoiseMap:
    """Noise whose features are about `scale_um` wide; the same arguments give the same map."""
    return NoiseMap(texture(seed, stream, SMOOTH, LATTICE), scale_um / (2.0 * SMOOTH))


@lru_cache(maxsize=64)
def texture(seed: int, stream: int, sigma_px: float | tuple[float, float], side_px: int) -> F32:
    """Periodic Gaussian texture, float32 (side, side), mean 0, standard deviation 1."""
    rng = np.random.default_rng((seed, 7, stream))
    grain = rng.standard_normal((side_px, side_px), dtype=np.float32)
    grain = gaussian_filter(grain, sigma_px, mode="wrap")
    grain = np.asarray((grain - grain.mean()) / grain.std(), np.float32)
    grain.setflags(write=False)
    return grain
