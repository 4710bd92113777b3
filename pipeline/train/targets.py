"""Location maps of a batch of crops, on any device: the core's maps, tested equal to them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.core.maps import FLOOR, MapRule
from pipeline.core.maps.density import TRUNCATE, peak_density
from pipeline.core.maps.rule import FARTHEST_PX

Seeds = NDArray[np.int64]
"""``(K, 4)``: crop, channel, row and column of each cell; rows and columns may lie outside."""


def target_maps(
    seeds: Seeds,
    shape: tuple[int, int, int],
    rule: MapRule,
    *,
    max_dt_px: NDArray[np.float64] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Make the maps of crops, cells just outside counted as well.

    Parameters
    ----------
    seeds
        Cells.
    shape
        (crops, channels, side).
    rule
        Of every map.
    max_dt_px
        ``(crops, channels)``, where the rule leaves Max(DT) to the image.

    Returns
    -------
    Tensor
        ``(crops, channels, side, side)`` float32.

    Raises
    ------
    ValueError
        The rule leaves Max(DT) to the image and none is given.
    """
    if rule.kind == "density":
        return _densities(seeds, shape, rule.sigma_px, device)
    largest = rule.max_dt_px if max_dt_px is None else float(max_dt_px.max(initial=1.0))
    reach = MapRule(rule.kind, largest, rule.c1, rule.c2, rule.c3).reach_px()
    distance = _distances(seeds, shape, reach, device)
    c1, c2, c3 = rule.constants
    slope: float | Tensor = c1
    if rule.kind == "edt":
        slope = c1 / _per_map(rule, max_dt_px, shape, device)
    values = 1 / (distance ** (slope * distance + c2) + c3)
    return torch.where(values < FLOOR, 0.0, values)


def _per_map(
    rule: MapRule,
    max_dt_px: NDArray[np.float64] | None,
    shape: tuple[int, int, int],
    device: torch.device | str,
) -> Tensor:
    """Max(DT) of every map, to be spread over its pixels."""
    values = np.full(shape[:2], rule.max_dt_px) if max_dt_px is None else max_dt_px
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, :, None, None]


def _planted(
    seeds: Seeds, shape: tuple[int, int, int], margin: int, device: torch.device | str
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """An empty plane with a margin, and where in it the cells within the margin lie."""
    crops, channels, side = shape
    wide = side + 2 * margin
    places = seeds + np.array([0, 0, margin, margin])
    inside = ((places[:, 2:] >= 0) & (places[:, 2:] < wide)).all(axis=1)
    index = torch.from_numpy(places[inside].T.copy()).to(device)
    return torch.zeros(crops, channels, wide, wide, device=device), tuple(index)


def _distances(
    seeds: Seeds, shape: tuple[int, int, int], reach: int, device: torch.device | str
) -> Tensor:
    """Exact Euclidean distance to the nearest cell, up to ``reach`` at least: row by column."""
    side = shape[2]
    plane, index = _planted(seeds, shape, reach, device)
    plane.fill_(math.inf)
    plane[index] = 0.0
    along = plane[..., :side] + float(reach * reach)
    for offset in range(1, 2 * reach + 1):
        step = float((offset - reach) ** 2)
        torch.minimum(along, plane[..., offset : offset + side] + step, out=along)
    square = along[:, :, :side] + float(reach * reach)
    for offset in range(1, 2 * reach + 1):
        step = float((offset - reach) ** 2)
        torch.minimum(square, along[:, :, offset : offset + side] + step, out=square)
    # finite: 0 times infinity is no number
    return square.sqrt().clamp(max=float(FARTHEST_PX))


def _densities(
    seeds: Seeds, shape: tuple[int, int, int], sigma_px: float, device: torch.device | str
) -> Tensor:
    """Gaussian blobs in units of a lone cell's peak; coincident cells add up."""
    reach = int(TRUNCATE * sigma_px + 0.5)
    plane, index = _planted(seeds, shape, reach, device)
    ones = torch.ones(len(index[0]), device=device)
    plane.index_put_(index, ones, accumulate=True)
    offset = torch.arange(-reach, reach + 1, device=device)
    kernel = torch.exp(-0.5 * (offset / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    crops, channels, side = shape
    planes = plane.view(crops * channels, 1, *plane.shape[-2:])
    planes = functional.conv2d(planes, kernel.view(1, 1, 1, -1))
    planes = functional.conv2d(planes, kernel.view(1, 1, -1, 1))
    return planes.view(crops, channels, side, side) / peak_density(sigma_px)


def seeds_of(crop: int, xy_px: NDArray[np.float64], channels: Sequence[NDArray[np.bool_]]) -> Seeds:
    """Cells of one crop from continuous coordinates ``(P, 2)`` and which cells each channel has."""
    pixel = np.floor(xy_px).astype(np.int64)
    rows = []
    for channel, kept in enumerate(channels):
        of_crop, of_channel = (np.full(kept.sum(), number) for number in (crop, channel))
        rows.append(np.column_stack([of_crop, of_channel, pixel[kept, 1], pixel[kept, 0]]))
    return np.concatenate(rows).astype(np.int64)
