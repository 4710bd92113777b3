"""Seeded patterns of cells whose true positivity is known: uniform, clustered, one planted spot."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

GRID_UM = 20.0
"""Side of the squares on which positivity and density are constant."""
DENSITY_LENGTH_UM = 300.0
"""Over which the density of cells varies."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Cells in micrometres, and the positivity they were drawn with, in percent."""

    x_um: Floats
    y_um: Floats
    positive: NDArray[np.bool_]
    true_pct: float


def uniform_pattern(
    rng: np.random.Generator, *, cells: int, index: float, per_mm2: float = 3000.0
) -> Pattern:
    """Cells strewn at random over a square, each positive with the same probability."""
    side_um = 1000.0 * math.sqrt(cells / per_mm2)
    x_um, y_um = rng.random((2, cells)) * side_um
    return Pattern(x_um, y_um, rng.random(cells) < index, 100.0 * index)


def planted_pattern(
    rng: np.random.Generator,
    *,
    cells: int,
    index: float,
    spot_index: float,
    spot_um: float,
    per_mm2: float = 3000.0,
) -> tuple[Pattern, float, float]:
    """Return a uniform pattern with one disc of higher positivity, and the disc's centre."""
    flat = uniform_pattern(rng, cells=cells, index=index, per_mm2=per_mm2)
    low, high = spot_um, 1000.0 * math.sqrt(cells / per_mm2) - spot_um
    centre_x, centre_y = rng.uniform(low, high, 2)
    inside = np.hypot(flat.x_um - centre_x, flat.y_um - centre_y) < spot_um
    positive = np.where(inside, rng.random(cells) < spot_index, flat.positive)
    return Pattern(flat.x_um, flat.y_um, positive, flat.true_pct), centre_x, centre_y


def field_pattern(
    rng: np.random.Generator,
    *,
    length_um: float,
    mm2: float,
    index: float = 0.2,
    strength: float = 1.0,
) -> Pattern:
    """Draw cells in an irregular piece of tissue, their positivity a smooth random field.

    The local positivity is ``Phi(a + strength g)`` with a Gaussian field g whose correlation falls
    to 1/e at ``length_um``; its mean is ``index`` whatever the length and strength.
    """
    tissue = _tissue(rng, mm2)
    latent = _gaussian_field(rng, tissue.shape, length_um)
    middle = special.ndtri(index) * math.sqrt(1 + strength**2)
    return _cells(rng, tissue, special.ndtr(middle + strength * latent), 100.0 * index)


def thomas_pattern(
    rng: np.random.Generator,
    *,
    length_um: float,
    mm2: float,
    index: float = 0.2,
    high: float = 0.7,
) -> Pattern:
    """Draw cells whose positivity is raised about Poisson centres (clusters of sd length / 2).

    The local positivity is ``low + (high - low)(1 - exp(-s))``, low a quarter of the index and s
    the summed Gaussian bumps of the centres, 3 at the middle of one; the number of centres makes
    its mean ``index``.
    """
    tissue = _tissue(rng, mm2)
    sd, peak, low = length_um / 2, 3.0, index / 4
    # one centre lowers E exp(-s) by the integral of 1 - exp(-bump): (E1(peak) + ln peak + gamma)
    reach = 2 * math.pi * sd**2 * (special.exp1(peak) + math.log(peak) + np.euler_gamma)
    per_um2 = -math.log(1 - (index - low) / (high - low)) / reach
    margin = math.ceil(4 * sd / GRID_UM)
    height, width = (fft.next_fast_len(side + 2 * margin) for side in tissue.shape)
    centres = rng.poisson(per_um2 * GRID_UM**2, (height, width)).astype(float)
    kernel = _transfer((height, width), sd) * 2 * math.pi * (sd / GRID_UM) ** 2 * peak
    bumps = fft.irfft2(fft.rfft2(centres) * kernel, (height, width))
    bumps = np.maximum(bumps[: tissue.shape[0], : tissue.shape[1]], 0)  # the field is periodic
    return _cells(rng, tissue, low + (high - low) * (1 - np.exp(-bumps)), 100.0 * index)


def _cells(
    rng: np.random.Generator, tissue: NDArray[np.bool_], share: Floats, pct: float
) -> Pattern:
    density = 2500e-6 * np.exp(0.4 * _gaussian_field(rng, tissue.shape, DENSITY_LENGTH_UM))
    counts = rng.poisson(density * GRID_UM**2 * tissue)
    row, column = (axis.repeat(counts[tissue]) for axis in np.nonzero(tissue))
    x_um, y_um = ((axis + rng.random(len(axis))) * GRID_UM for axis in (column, row))
    return Pattern(x_um, y_um, rng.random(len(row)) < share[row, column], pct)


def _tissue(rng: np.random.Generator, mm2: float) -> NDArray[np.bool_]:
    """Mask of a stretched, wavy-edged piece of about ``mm2``."""
    stretch = rng.uniform(1.0, 1.6)
    radius = 1000.0 * math.sqrt(mm2 / math.pi)
    reach = int(1.6 * radius * math.sqrt(stretch) / GRID_UM)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * GRID_UM
    x, y = x / math.sqrt(stretch), y * math.sqrt(stretch)
    angle = np.arctan2(y, x)
    edge = np.ones_like(x)
    for wave in range(2, 7):
        edge += 0.25 / wave * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * math.pi))
    mask: NDArray[np.bool_] = np.hypot(x, y) < radius * edge / np.sqrt((edge**2).mean())
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _gaussian_field(rng: np.random.Generator, shape: tuple[int, ...], length_um: float) -> Floats:
    """Gaussian field of mean 0 and variance 1, correlation exp(-(r / length)^2)."""
    sd = length_um / 2
    margin = math.ceil(4 * sd / GRID_UM)
    height, width = (fft.next_fast_len(side + margin) for side in shape[:2])
    kernel = _transfer((height, width), sd)
    field = fft.irfft2(fft.rfft2(rng.standard_normal((height, width))) * kernel, (height, width))
    power = fft.irfft2(kernel**2, (height, width))[0, 0]
    whole: Floats = field / math.sqrt(power)
    return whole[: shape[0], : shape[1]]


def _transfer(shape: tuple[int, int], sd_um: float) -> Floats:
    """Fourier transform of a Gaussian kernel of sum 1 on the grid."""
    fy, fx = fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])
    squared: Floats = fy[:, None] ** 2 + fx[None, :] ** 2
    return np.exp(-2 * (math.pi * sd_um / GRID_UM) ** 2 * squared)
