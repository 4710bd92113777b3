"""The value of a location map at a distance from the nearest cell."""

import math

import numpy as np
from numpy.typing import NDArray

EDT_C1 = 10.0
EDT_C2 = 0.5
EDT_C3 = 1.0
FLOOR = 0.01
"""Values under it are set to 0, so that background is exactly 0."""
MAX_DT_UM = 118 * 0.3125
"""Median Max(DT) of the BCData training images, 118 px of 0.3125 um (the 512-pixel frame)."""


def inverse_profile(
    distance_px: NDArray[np.float64],
    *,
    slope: float,
    power: float,
    offset: float = 1.0,
    floor: float = FLOOR,
) -> NDArray[np.float64]:
    """``1 / (d ** (slope * d + power) + offset)``, values under ``floor`` set to 0.

    ``1 / offset`` at a cell; with an offset of 1 one pixel away is 0.5 whatever the rest.

    Parameters
    ----------
    distance_px
        At least 0.
    slope
        Per pixel, at least 0: makes the far value fall faster.
    power, offset
        Above 0.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    _check(slope=slope, power=power, offset=offset)
    # far from every cell the power may overflow: its inverse is the 0 that is wanted
    with np.errstate(over="ignore"):
        values = 1.0 / (distance_px ** (slope * distance_px + power) + offset)
    return np.where(values < floor, 0.0, values)


def edt_profile(
    distance_px: NDArray[np.float64],
    max_dt_px: float,
    *,
    c1: float = EDT_C1,
    c2: float = EDT_C2,
    c3: float = EDT_C3,
    floor: float = FLOOR,
) -> NDArray[np.float64]:
    """Exponential distance transform: ``1 / (d ** (c1 * d / max_dt + c2) + c3)``.

    The published equation divides by ``Max(DT) + c2``; its authors' code, their ablation and a peak
    at the centre all say that ``c2`` is added to the exponent, as here.

    References
    ----------
    Li et al., Exponential distance transform maps for cell localization, EAAI 2024, Eq. 6.
    """
    if not (max_dt_px > 0 and math.isfinite(max_dt_px)):
        raise ValueError(f"max_dt_px={max_dt_px} must be positive")
    return inverse_profile(distance_px, slope=c1 / max_dt_px, power=c2, offset=c3, floor=floor)


def max_dt_px(mpp_um: float, max_dt_um: float = MAX_DT_UM) -> float:
    """Give the fixed Max(DT) in pixels for training at ``mpp_um``."""
    if not (mpp_um > 0 and math.isfinite(mpp_um)):
        raise ValueError(f"mpp_um={mpp_um} must be positive")
    return max_dt_um / mpp_um


def _check(*, slope: float, power: float, offset: float) -> None:
    if not (slope >= 0 and math.isfinite(slope)):
        raise ValueError(f"slope={slope} must be 0 or positive")
    for name, value in (("power", power), ("offset", offset)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name}={value} must be positive")
