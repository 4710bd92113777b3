"""Random numbers by place: any rectangle of an endless plane can be drawn alone and agrees."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def uniform(seed: int, channel: int, ix: Ints, iy: Ints) -> Floats:
    """Independent uniforms in [0, 1), one for each (seed, channel, ix, iy); broadcasts."""
    start = np.uint64((seed * _GOLDEN + channel * 0xD1B54A32D192ED03) & _MASK)
    with np.errstate(over="ignore"):
        value = _mixed(start + ix.astype(np.uint64) * np.uint64(0x8CB92BA72F3D8DD7))
        value = _mixed(value + iy.astype(np.uint64) * np.uint64(0xAAAAAAAAAAAAAAAB))
    return np.asarray((value >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def normal(seed: int, channel: int, ix: Ints, iy: Ints) -> Floats:
    """Independent standard normals (Box-Muller) by place."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, 2 * channel, ix, iy)))
    return np.asarray(radius * np.cos(2 * np.pi * uniform(seed, 2 * channel + 1, ix, iy)))


def smooth(seed: int, channel: int, x: Floats, y: Floats, scale: float) -> Floats:
    """Value noise in [0, 1]: uniforms on a grid of step ``scale``, smoothly interpolated.

    ``x`` and ``y`` are 1-D axes (the result is ``(len(y), len(x))``) or arrays of one shape.
    """
    if x.ndim == 1 and y.ndim == 1 and not (x.shape == y.shape and x is y):
        return _smooth_axes(seed, channel, x / scale, y / scale)
    raise ValueError("smooth() takes two 1-D axes; use smooth_at() for scattered places")


def smooth_at(seed: int, channel: int, x: Floats, y: Floats, scale: float) -> Floats:
    """Value noise in [0, 1] at scattered places of one shape."""
    u, v = x / scale, y / scale
    ix, iy = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    fx, fy = _ease(u - ix), _ease(v - iy)
    top = _blend(uniform(seed, channel, ix, iy), uniform(seed, channel, ix + 1, iy), fx)
    low = _blend(uniform(seed, channel, ix, iy + 1), uniform(seed, channel, ix + 1, iy + 1), fx)
    return _blend(top, low, fy)


def _smooth_axes(seed: int, channel: int, u: Floats, v: Floats) -> Floats:
    ix, iy = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    if len(ix) == 0 or len(iy) == 0:
        return np.empty((len(iy), len(ix)))
    grid_x = np.arange(ix.min(), ix.max() + 2)
    grid_y = np.arange(iy.min(), iy.max() + 2)
    grid = uniform(seed, channel, grid_x[None, :], grid_y[:, None])
    fx, fy = _ease(u - ix)[None, :], _ease(v - iy)[:, None]
    left = ix - grid_x[0]
    rows = _blend(grid[:, left], grid[:, left + 1], fx)
    above = iy - grid_y[0]
    return _blend(rows[above], rows[above + 1], fy)


def _blend(a: Floats, b: Floats, share: Floats) -> Floats:
    return np.asarray(a + (b - a) * share)


def _ease(share: Floats) -> Floats:
    return np.asarray(share * share * (3.0 - 2.0 * share))


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * _MIX_1
        value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return np.asarray(value ^ (value >> np.uint64(31)))
