"""Quality seen on the overview: glass, ink, tissue cut off by the slide's edge, a second mask."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.qc.look import Glass, OverviewQuality
from pipeline.core.qc.measures import F32, Mask, ink_pixels, optical_density

WHITE: Glass = (240.0, 240.0, 240.0)
"""Taken for glass where a slide shows none."""
LEAST_GLASS_PX = 64
BRIGHT = 150
"""Every channel of glass is at least so bright."""
INK_GROWN_PX = 4
"""The rim of a line of ink is paler than the line."""
TEXTURE_LEVELS = 2.0
"""Grey levels by which neighbouring overview pixels of tissue differ at least."""
TEXTURE_NOISE = 5.0
"""The same as a multiple of the glass's own."""
FILLED_PX = 80
"""Smooth gaps of fewer pixels within texture are tissue."""


def look_over(
    rgb: NDArray[np.uint8], tissue: Mask, absent: Mask, um_per_px: float
) -> OverviewQuality:
    """Measure an overview of about 8 micrometres per pixel.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` uint8.
    tissue
        ``(H, W)``: the mask that is used.
    absent
        ``(H, W)``: pixels the slide does not have.
    """
    glass = glass_colour(rgb, tissue, absent)
    return OverviewQuality(
        glass=glass,
        ink=_ink(rgb, glass) & ~absent,
        edge_um=_edge_px(tissue, absent) * um_per_px,
        mask_agreement=_agreement(tissue, textured(rgb, tissue, absent)),
    )


def glass_colour(rgb: NDArray[np.uint8], tissue: Mask, absent: Mask) -> Glass:
    """Median colour of what is bright and no tissue; ``WHITE`` where that is too little."""
    beside = ~ndimage.binary_dilation(tissue, iterations=2) & ~absent
    darkest = np.minimum(np.minimum(rgb[:, :, 0], rgb[:, :, 1]), rgb[:, :, 2])
    glass = rgb[beside & (darkest > BRIGHT)]
    if len(glass) < LEAST_GLASS_PX:
        return WHITE
    red, green, blue = (float(np.median(level)) for level in glass.T)
    return red, green, blue


def textured(rgb: NDArray[np.uint8], tissue: Mask, absent: Mask) -> Mask:
    """Find tissue by its texture alone, whatever its colour: glass is smooth."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), 2, 0)
    grey = (red + green + blue) / np.float32(3) - np.float32(200)
    spread = ndimage.uniform_filter(grey**2, 3) - ndimage.uniform_filter(grey, 3) ** 2
    rough = np.sqrt(np.maximum(spread, 0))
    glass = rough[~tissue & ~absent]
    noise = float(np.median(glass)) if len(glass) >= LEAST_GLASS_PX else 0.0
    found = (rough > max(TEXTURE_LEVELS, TEXTURE_NOISE * noise)) & ~absent
    found = ndimage.binary_closing(np.pad(found, 3), iterations=3)[3:-3, 3:-3]
    # texture reaches over the border by the filter's radius
    found = ndimage.binary_opening(ndimage.binary_erosion(found, border_value=1), iterations=2)
    labels, number = ndimage.label(~found)
    small = np.bincount(labels.ravel(), minlength=number + 1) <= FILLED_PX
    small[0] = True
    return np.asarray((found | small[labels]) & ~absent)


def _ink(rgb: NDArray[np.uint8], glass: Glass) -> Mask:
    density: F32 = optical_density(rgb, glass)
    smooth = np.stack([ndimage.gaussian_filter(channel, 1.0) for channel in density])
    lines = ndimage.binary_opening(ink_pixels(smooth), iterations=2)
    return np.asarray(ndimage.binary_dilation(lines, iterations=INK_GROWN_PX))


def _edge_px(tissue: Mask, absent: Mask) -> int:
    """Tissue pixels that lie at the overview's border or beside absent ones."""
    outside = np.pad(absent, 1, constant_values=True)
    near = ndimage.binary_dilation(outside)[1:-1, 1:-1]
    return int(np.count_nonzero(tissue & near))


def _agreement(one: Mask, other: Mask) -> float:
    either = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / either) if either else 1.0
