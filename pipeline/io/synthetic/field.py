"""One dense synthetic field with known cells: what training draws from a seed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.io.synthetic.ranges import TRAINING_RANGES, SynthRanges, draw_style
from pipeline.io.synthetic.render import render_rectangle
from pipeline.io.synthetic.scene import TUMOUR, Scene

MPP_MIN_UM, MPP_MAX_UM = 0.2, 1.0


class SyntheticField(NamedTuple):
    """An image and its true cells; pixel centres at +0.5.

    `image` uint8 (H, W, 3) RGB; `x`, `y` float64 (n,) in pixels, 0 <= x < W; `label` uint8 (n,),
    1 = positive, 0 = negative.
    """

    image: NDArray[np.uint8]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    label: NDArray[np.uint8]


def render_field(
    seed: int,
    size_px: int,
    mpp_um: float = 0.25,
    ranges: SynthRanges = TRAINING_RANGES,
) -> SyntheticField:
    """Render one square field of tissue; the same arguments give the same field.

    Parameters
    ----------
    seed : int
        Below 1,000,000 with the training ranges, at or above with the demonstration ranges.
    size_px : int
        Side of the field in pixels.
    mpp_um : float
        Side of a pixel in um; rendered natively, not resampled.
    ranges : SynthRanges
        Intervals the style of the field is drawn from.

    Raises
    ------
    ConfigError
        A seed that does not belong to the ranges, or a size or mpp out of range.
    """
    if size_px < 1:
        raise ConfigError(f"size_px is {size_px}; give a field side of at least 1 px")
    if not MPP_MIN_UM <= mpp_um <= MPP_MAX_UM:
        raise ConfigError(f"mpp {mpp_um} um/px is outside {MPP_MIN_UM}-{MPP_MAX_UM} um/px")
    scene = Scene(seed, draw_style(seed, ranges))
    image = render_rectangle(scene, 0, 0, size_px, size_px, mpp_um)
    side_um = size_px * mpp_um
    nuclei = scene.nuclei_in(0.0, 0.0, side_um, side_um)
    cells = nuclei.take(nuclei.kind == TUMOUR)
    return SyntheticField(
        image, cells.x_um / mpp_um, cells.y_um / mpp_um, cells.positive.astype(np.uint8)
    )
