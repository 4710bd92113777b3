"""Where a crop lies in its field: place, scale, rotation and mirroring as one affine map."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.train.config import AugmentConfig

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A square crop in a field.

    Attributes
    ----------
    matrix
        ``(2, 2)``: field pixels per crop pixel, (x, y) order.
    origin
        ``(2,)``: continuous field coordinates of the crop's corner (0, 0).
    scale
        Random factor on the micrometres per pixel: above 1 cells are smaller than usual.
    """

    matrix: Points
    origin: Points
    scale: float

    def to_field(self, xy_px: Points) -> Points:
        """Map ``(N, 2)`` continuous crop coordinates to the field's."""
        return xy_px @ self.matrix.T + self.origin

    def to_crop(self, xy_px: Points) -> Points:
        """Map ``(N, 2)`` continuous field coordinates to the crop's."""
        return (xy_px - self.origin) @ np.linalg.inv(self.matrix).T


def draw_placement(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    *,
    field_mpp_um: float,
    side_px: int,
    mpp_um: float,
    config: AugmentConfig,
) -> Placement:
    """Draw a place; the generator is asked equally often whatever the settings.

    Parameters
    ----------
    size_px
        Width and height of the field.
    side_px
        Side of the crop in pixels of ``mpp_um``.
    """
    share, turn, free, mirrored = rng.random(), rng.integers(4), rng.random(), rng.integers(2)
    low, high = config.scale
    # log-uniform: as often larger as smaller
    factor = float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
    step = mpp_um * factor / field_mpp_um
    matrix = step * _orientation(config.rotation, int(turn), float(free), bool(mirrored))
    centre = [_centre(rng, length, side_px * step, config.overhang_px * step) for length in size_px]
    origin = np.array(centre) - matrix @ np.full(2, side_px / 2)
    return Placement(matrix, origin, factor)


def _orientation(rotation: str, quarter_turns: int, share: float, mirror: bool) -> Points:
    flip = np.diag([-1.0 if mirror else 1.0, 1.0])
    if rotation == "none":
        return flip
    if rotation == "quarter":
        quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
        return np.linalg.matrix_power(quarter, quarter_turns) @ flip
    angle = 2 * np.pi * share
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]]) @ flip


def _centre(rng: np.random.Generator, length: float, side: float, overhang: float) -> float:
    low, high = side / 2 - overhang, length - side / 2 + overhang
    if high < low:  # the field is smaller than the crop: keep all of it inside
        low, high = high, low
    return float(rng.uniform(low, high))
