"""Measures of one tile's pixels on bins: focus, colour, density, dark and brown structures."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.blocks import window_maxima, window_minima
from pipeline.core.classical import detect_classical
from pipeline.core.points import POSITIVE
from pipeline.core.qc.bins import MEASURES

COLOUR_UM = 1.0
"""Colours are measured on pixels of at least about this side: nuclei are seven of them wide."""
TISSUE_OD = 0.15
"""Summed optical density of the channels from which a pixel is tissue."""
GRANULE_UM = 3.0
"""Brown structures narrower than this are no nucleus."""
SLAB_UM = 31.0
"""Brown structures wider than this are no nucleus either, nor a few that touch."""
DARK_OD = 0.8
"""Optical density that ink, dirt and the rim of a bubble reach in every channel."""
_ROWS_AT_ONCE = 32
DARK_UM = 21.0
"""Dark structures narrower than this may be nuclei full of DAB."""

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


def measure_tile(
    rgb: NDArray[np.uint8],
    *,
    bin_px: int,
    mpp_um: float,
    glass: tuple[float, float, float] = (255.0, 255.0, 255.0),
) -> F32:
    """Measure the bins of one tile's core; nothing outside the core has a part in it.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` uint8, multiples of ``bin_px``.
    bin_px
        Side of a bin, a multiple of 16.
    mpp_um
        Micrometres per pixel.
    glass
        Red, green and blue of the slide's empty glass, 1 to 255.

    Returns
    -------
    float32 ``(len(MEASURES), H / bin_px, W / bin_px)``:

    - tissue: share of pixels denser than glass
    - sharpness: energy of structures of 2 um over that of 4 um, of log green; 0.26 when blurred
    - detail: energy of structures of 2 to 8 um, below it sharpness is of noise
    - density: mean summed optical density
    - floor: its 20th percentile, the density between nuclei
    - haematoxylin: 95th percentile of haematoxylin density where it is not brown
    - brown: share of pixels of the colour of DAB, or as dark as much of it
    - granular, slab: shares of brown pixels that are too fine or too wide for nuclei
    - pink: share of tissue pixels of the colour of eosin
    - ink: share of pixels of the colour of blue and green ink
    - dark: share of pixels in dark structures larger than nuclei
    - classical_positive, classical_negative: nuclei of the classical detector
    """
    if rgb.ndim != 3 or rgb.shape[0] % bin_px or rgb.shape[1] % bin_px or bin_px % 16:
        raise ValueError(f"tile {rgb.shape} is not of whole bins of {bin_px} px")
    found: dict[str, F32] = {}
    found["sharpness"], found["detail"] = _focus(rgb[:, :, 1], bin_px, mpp_um)
    step = reduction(mpp_um)
    small, small_bin, um = reduced(rgb, step), bin_px // step, mpp_um * step
    density = optical_density(small, glass)
    total = density[0] + density[1] + density[2]
    tissue = total > TISSUE_OD
    # a nucleus full of DAB is black within and brown at its rim: it is one structure
    black = np.minimum(np.minimum(density[0], density[1]), density[2]) > DARK_OD
    brown = brown_pixels(density) | black
    found["tissue"] = _share(tissue, small_bin)
    found["density"], found["floor"] = _levels(total, small_bin)
    found["haematoxylin"] = _haematoxylin(density, brown, small_bin)
    dark = _opened(black, DARK_UM / um)
    found |= _brown_structures(brown & ~dark, small_bin, um)
    pink = _share(pink_pixels(density), small_bin)
    found["pink"] = np.asarray(pink / np.maximum(found["tissue"], 1e-3), np.float32)
    found["ink"] = _share(ink_pixels(density), small_bin)
    found["dark"] = _share(dark, small_bin)
    found |= _classical(small, small_bin, um)
    return np.stack([found[name] for name in MEASURES])


def reduction(mpp_um: float) -> int:
    """Pixels a side that are averaged for colours: 1, 2, 4 or 8."""
    octaves = math.floor(math.log2(COLOUR_UM / mpp_um) + 0.5)
    return 1 << min(3, max(0, octaves))


def reduced(rgb: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Mean of ``step`` x ``step`` pixels, half up."""
    if step == 1:
        return rgb
    height, width = len(rgb) // step, rgb.shape[1] // step
    made = np.empty((height, width, 3), np.uint8)
    shift = 2 * step.bit_length() - 2  # of step * step, a power of two
    for top in range(0, height, _ROWS_AT_ONCE):
        # whole rows first, a few at a time: they stay in the processor's cache
        rows = rgb[top * step : min(top + _ROWS_AT_ONCE, height) * step, : width * step]
        total = rows[::step].astype(np.uint16).reshape(-1, 3 * width * step)
        for row in range(1, step):
            total += rows[row::step].reshape(total.shape)
        # sums of 2, then of 4 pixels to the right of each: one in ``step`` of them is wanted
        for reach in (3 << octave for octave in range(step.bit_length() - 1)):
            total = total[:, :-reach] + total[:, reach:]
        mean = ((total + np.uint16(step * step // 2)) >> shift).astype(np.uint8)
        for channel in range(3):
            made[top : top + _ROWS_AT_ONCE, :, channel] = mean[:, channel :: 3 * step]
    return made


def optical_density(rgb: NDArray[np.uint8], glass: tuple[float, float, float]) -> F32:
    """Optical density against the slide's glass, ``(3, H, W)``, negative where brighter."""
    level = np.log10(np.arange(256, dtype=np.float64) + 1)
    white = np.log10(np.clip(np.asarray(glass, np.float64), 1, 255) + 1)
    tables = (white[:, None] - level).astype(np.float32)
    density = np.empty((3, *rgb.shape[:2]), np.float32)
    for channel in range(3):
        np.take(tables[channel], rgb[:, :, channel], out=density[channel], mode="clip")
    return density


def brown_pixels(density: F32) -> Mask:
    """Pixels of DAB's colour: blue is absorbed most, red least, and not little."""
    red, green, blue = density
    return np.asarray((blue > 0.30) & (blue > 1.05 * green) & (blue > 1.35 * red))


def pink_pixels(density: F32) -> Mask:
    """Pixels of eosin's colour: green is absorbed most; haematoxylin and DAB never do so."""
    red, green, blue = density
    dense = red + green + blue > TISSUE_OD
    return np.asarray(dense & (green > 1.35 * red) & (green > 1.1 * blue))


def ink_pixels(density: F32) -> Mask:
    """Pixels of blue and green ink: ratios that no mixture of the stains has."""
    red, green, blue = density
    blue_ink = (red > 1.2 * green) & (blue < 0.5 * red)
    green_ink = (green < 0.8 * red) & (green < 0.8 * blue)
    return np.asarray((red > 0.25) & (blue_ink | green_ink))


def _focus(green: NDArray[np.uint8], bin_px: int, mpp_um: float) -> tuple[F32, F32]:
    """Haar energies of log green at 1-2, 2-4 and 4-8 um: a blur takes the finest first."""
    level = _half_level(green)
    octave = max(0, min(2, round(math.log2(0.5 / mpp_um)))) if mpp_um < 0.5 else 0
    octave = min(octave, bin_px.bit_length() - 5)  # of small bins the coarsest is one pixel
    for _ in range(octave):
        level = _half(level)
    energies = []
    for step in range(octave + 1, octave + 4):
        level, energy = _halved(level)
        energies.append(_mean(energy, bin_px >> (step + 1)))
    fine, middle, coarse = energies
    sharpness = np.asarray(fine / np.maximum(middle, 1e-6), np.float32)
    return sharpness, np.asarray(fine + middle + coarse, np.float32)


@lru_cache(maxsize=1)
def _pair_levels() -> F32:
    """Sum of the levels of two pixels, whose bytes are one number of 16 bits."""
    # the offset keeps the noise of dark pixels small
    level = (100 * np.log10(np.arange(256, dtype=np.float64) + 16)).astype(np.float32)
    return np.add.outer(level, level).ravel()


def _half_level(green: NDArray[np.uint8]) -> F32:
    """Mean level of 2 x 2 pixels; looked up for two at a time, most of this is looking up."""
    mean = np.empty((green.shape[0] // 2, green.shape[1] // 2), np.float32)
    for top in range(0, len(mean), _ROWS_AT_ONCE):
        rows = np.ascontiguousarray(green[2 * top : 2 * (top + _ROWS_AT_ONCE)])
        pairs = _pair_levels().take(rows.view(np.uint16))
        pairs *= np.float32(0.25)
        np.add(pairs[::2], pairs[1::2], out=mean[top : top + _ROWS_AT_ONCE])
    return mean


def _half(level: F32) -> F32:
    """Mean of 2 x 2 pixels."""
    mean = np.empty((level.shape[0] // 2, level.shape[1] // 2), np.float32)
    for top in range(0, len(mean), _ROWS_AT_ONCE):
        rows = level[2 * top : 2 * (top + _ROWS_AT_ONCE)]
        some = rows[::2, ::2] + rows[1::2, ::2]
        some += rows[::2, 1::2]
        some += rows[1::2, 1::2]
        np.multiply(some, np.float32(0.25), out=mean[top : top + _ROWS_AT_ONCE])
    return mean


def _halved(level: F32) -> tuple[F32, F32]:
    """Mean of 2 x 2 pixels, and the sum of their squares about it."""
    height, width = level.shape[0] // 2, level.shape[1] // 2
    mean, energy = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    for top in range(0, height, _ROWS_AT_ONCE):
        # a few rows at a time: everything made of them stays in the processor's cache
        some, rows = slice(top, top + _ROWS_AT_ONCE), level[2 * top : 2 * (top + _ROWS_AT_ONCE)]
        parts = (rows[::2, ::2], rows[1::2, ::2], rows[::2, 1::2], rows[1::2, 1::2])
        middle = (parts[0] + parts[1] + parts[2] + parts[3]) * np.float32(0.25)
        around = np.zeros_like(middle)
        for part in parts:
            off = part - middle
            off *= off
            around += off
        mean[some], energy[some] = middle, around
    return mean, energy


def _levels(total: F32, bin_px: int) -> tuple[F32, F32]:
    blocks = _blocks(total, bin_px)
    kth = blocks.shape[-1] // 5
    floor = np.partition(blocks, kth, axis=-1)[..., kth]
    return np.asarray(blocks.mean(axis=-1), np.float32), floor


def _haematoxylin(density: F32, brown: Mask, bin_px: int) -> F32:
    """Density of the densest nuclei; under strong DAB there is no telling."""
    red, green, blue = density
    # of a pixel that is a mixture of the two stains, DAB's part of the red taken off
    value = np.where(brown, 0, red - np.float32(0.2) * np.maximum(blue - green, 0))
    blocks = _blocks(value.astype(np.float32), bin_px)
    kth = blocks.shape[-1] * 19 // 20
    return np.asarray(np.partition(blocks, kth, axis=-1)[..., kth])


def _brown_structures(brown: Mask, bin_px: int, um_per_px: float) -> dict[str, F32]:
    return {
        "brown": _share(brown, bin_px),
        "granular": _share(_without_core(brown, GRANULE_UM / um_per_px), bin_px),
        "slab": _share(_opened(brown, SLAB_UM / um_per_px), bin_px),
    }


def _without_core(mask: Mask, side_px: float) -> Mask:
    """Connected parts of a mask that hold no square of the side anywhere."""
    labels, number = ndimage.label(mask, structure=np.ones((3, 3), bool))
    core = window_minima(mask, _odd(side_px))
    fine = np.bincount(labels[core], minlength=number + 1) == 0
    fine[0] = False
    return np.asarray(fine[labels])


def _opened(mask: Mask, side_px: float) -> Mask:
    """What of a mask squares of the side cover; the tile's border counts as more of the same."""
    if not mask.any():
        return mask
    side = _odd(side_px)
    return window_maxima(window_minima(mask, side), side)


def _odd(side_px: float) -> int:
    return max(3, 2 * round((side_px - 1) / 2) + 1)


def _classical(rgb: NDArray[np.uint8], bin_px: int, um_per_px: float) -> dict[str, F32]:
    """Nuclei by an independent method, whose faults are not the network's."""
    x_px, y_px, label = detect_classical(rgb, mpp_um=um_per_px)
    rows, cols = len(rgb) // bin_px, rgb.shape[1] // bin_px
    # a refined peak may stand on the border itself
    row = np.clip((y_px // bin_px).astype(np.intp), 0, rows - 1)
    col = np.clip((x_px // bin_px).astype(np.intp), 0, cols - 1)
    place, shape = row * cols + col, (rows, cols)
    positive = label == POSITIVE
    number = [np.bincount(place[of], minlength=rows * cols) for of in (positive, ~positive)]
    return {
        "classical_positive": number[0].reshape(shape).astype(np.float32),
        "classical_negative": number[1].reshape(shape).astype(np.float32),
    }


def _blocks(value: F32, bin_px: int) -> F32:
    """``(rows, cols, pixels of a bin)``."""
    rows, cols = value.shape[0] // bin_px, value.shape[1] // bin_px
    split = value.reshape(rows, bin_px, cols, bin_px).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(split).reshape(rows, cols, bin_px * bin_px)


def _mean(value: F32, bin_px: int) -> F32:
    rows, cols = value.shape[0] // bin_px, value.shape[1] // bin_px
    return np.asarray(value.reshape(rows, bin_px, cols, bin_px).mean(axis=(1, 3)), np.float32)


def _share(mask: Mask, bin_px: int) -> F32:
    rows, cols = mask.shape[0] // bin_px, mask.shape[1] // bin_px
    number = mask.reshape(rows, bin_px, cols, bin_px).sum(axis=(1, 3), dtype=np.int64)
    return np.asarray(number / np.float32(bin_px * bin_px), np.float32)
