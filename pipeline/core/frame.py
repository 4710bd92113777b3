"""The model frame: the plane of pixels the network sees, and its place on level 0."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PlaneFrame:
    """Affine relation of model-frame pixels to level-0 pixels, one phase for the whole slide.

    Model-frame pixel ``i`` covers level-0 ``[origin + i*scale, origin + (i+1)*scale)``; continuous
    coordinates in both frames have pixel centres at +0.5.

    Attributes
    ----------
    origin_x_l0, origin_y_l0
        Level-0 corner of the first model-frame pixel (the slide's bounds).
    scale_x, scale_y
        Level-0 pixels per model-frame pixel.
    width, height
        Size of the plane in model-frame pixels.
    """

    origin_x_l0: int
    origin_y_l0: int
    scale_x: float
    scale_y: float
    width: int
    height: int

    def __post_init__(self) -> None:
        if not (self.scale_x > 0 and self.scale_y > 0 and self.width > 0 and self.height > 0):
            raise ValueError(f"a frame needs positive scales and sizes: {self}")

    @classmethod
    def over(
        cls,
        x_l0: int,
        y_l0: int,
        width_l0: int,
        height_l0: int,
        mpp: tuple[float, float],
        mpp_um: float,
    ) -> "PlaneFrame":
        """Lay a frame of ``mpp_um`` micrometres per pixel over a level-0 rectangle.

        The last row and column may reach beyond the rectangle by less than a pixel.
        """
        scale_x, scale_y = mpp_um / mpp[0], mpp_um / mpp[1]
        # a rounding error in the division must not add a column of nothing
        width = max(1, math.ceil(width_l0 / scale_x - 1e-6))
        height = max(1, math.ceil(height_l0 / scale_y - 1e-6))
        return cls(x_l0, y_l0, scale_x, scale_y, width, height)

    def to_l0(
        self, x_px: NDArray[np.float64], y_px: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Continuous model-frame coordinates (pixel centre at +0.5) to level-0 coordinates."""
        return self.origin_x_l0 + x_px * self.scale_x, self.origin_y_l0 + y_px * self.scale_y

    def from_l0(
        self, x_l0: NDArray[np.float64], y_l0: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Continuous level-0 coordinates to model-frame coordinates."""
        return (x_l0 - self.origin_x_l0) / self.scale_x, (y_l0 - self.origin_y_l0) / self.scale_y
