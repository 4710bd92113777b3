"""Which location map, and the one function that makes it."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.core.maps.density import TRUNCATE, density_map, peak_density
from pipeline.core.maps.distance import Points, image_max_dt_px, seed_distance
from pipeline.core.maps.profiles import FLOOR, edt_profile, inverse_profile

MapKind = Literal["edt", "idt", "fidt", "density"]
KINDS: tuple[MapKind, ...] = get_args(MapKind)
CONSTANTS: dict[MapKind, tuple[float, float, float]] = {
    "edt": (10.0, 0.5, 1.0),
    "idt": (0.0, 1.0, 1.0),
    "fidt": (0.02, 0.75, 1.0),
    "density": (0.0, 1.0, 1.0),
}
"""C1, C2 and C3 of each map as published; density has none."""
FARTHEST_PX = 16_384


@dataclass(frozen=True, slots=True)
class MapRule:
    """A kind of map and its constants, in pixels of the map.

    Attributes
    ----------
    kind
        ``edt``, ``idt`` (1 / (d + C3)), ``fidt`` (1 / (d ** (C1 * d + C2) + C3)) or ``density``.
    max_dt_px
        EDT: Max(DT). A number makes the map a local kernel, equal on any crop; None takes the
        image's own (the paper's way).
    c1, c2, c3
        None: those published for the kind.
    sigma_px
        Density: standard deviation of a cell's blob.
    """

    kind: MapKind = "edt"
    max_dt_px: float | None = None
    c1: float | None = None
    c2: float | None = None
    c3: float | None = None
    sigma_px: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what no map can have."""
        if self.kind not in KINDS:
            raise ValueError(f"map kind {self.kind!r} is unknown; known: {', '.join(KINDS)}")
        if not (self.sigma_px > 0 and math.isfinite(self.sigma_px)):
            raise ValueError(f"sigma_px={self.sigma_px} must be positive")
        self.profile(np.zeros(1), floor=0.0)

    @property
    def constants(self) -> tuple[float, float, float]:
        """C1, C2 and C3 in use."""
        chosen = (self.c1, self.c2, self.c3)
        published = CONSTANTS[self.kind]
        c1, c2, c3 = (p if c is None else c for c, p in zip(chosen, published, strict=True))
        return c1, c2, c3

    @property
    def needs_image(self) -> bool:
        """Whether the map depends on the whole image and not on near cells alone."""
        return self.kind == "edt" and self.max_dt_px is None

    def profile(self, distance_px: NDArray[np.float64], *, floor: float = FLOOR) -> Points:
        """Value at each distance from the nearest cell (density: from a lone cell)."""
        c1, c2, c3 = self.constants
        if self.kind == "density":
            return np.exp(-0.5 * (distance_px / self.sigma_px) ** 2)
        if self.kind == "edt":
            largest = 1.0 if self.max_dt_px is None else self.max_dt_px
            return edt_profile(distance_px, largest, c1=c1, c2=c2, c3=c3, floor=floor)
        return inverse_profile(distance_px, slope=c1, power=c2, offset=c3, floor=floor)

    def reach_px(self) -> int:
        """Distance from which on a cell leaves no trace in the map.

        Raises
        ------
        ValueError
            The map depends on the whole image.
        """
        if self.needs_image:
            raise ValueError("max_dt_px=None has no reach; give the image's Max(DT)")
        if self.kind == "density":
            return math.ceil(TRUNCATE * self.sigma_px) + 1
        distance = np.arange(1, FARTHEST_PX, dtype=np.float64)
        return int(distance[self.profile(distance) > 0].max(initial=1)) + 1


def location_map(
    x_px: Points, y_px: Points, shape: tuple[int, int], rule: MapRule
) -> NDArray[np.float32]:
    """Make one map of points, ``shape`` float32, zeros without a point inside it.

    Distance maps lie in [0, 1 / C3]. A density is given in units of a lone cell's peak, so that the
    loss and the thresholds have the scale of the other maps.

    Parameters
    ----------
    x_px, y_px
        Continuous coordinates, pixel centres at +0.5; points outside ``shape`` are left out.
    shape
        (height, width).
    """
    if rule.kind == "density":
        density = density_map(x_px, y_px, shape, sigma_px=rule.sigma_px)
        return np.asarray(density / peak_density(rule.sigma_px), np.float32)
    distance = seed_distance(x_px, y_px, shape)
    if distance is None:
        return np.zeros(shape, np.float32)
    if rule.needs_image:
        rule = replace(rule, max_dt_px=image_max_dt_px(x_px, y_px, shape))
    return np.asarray(rule.profile(distance), np.float32)


def edt_map(
    x_px: Points, y_px: Points, shape: tuple[int, int], *, max_dt_px: float | None
) -> NDArray[np.float32]:
    """Exponential distance transform map with the published constants; see ``location_map``."""
    return location_map(x_px, y_px, shape, MapRule("edt", max_dt_px=max_dt_px))
