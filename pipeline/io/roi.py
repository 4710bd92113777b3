"""A region of interest on level 0: what lies in it, exactly, for a million points in seconds."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.core.tiling import Box

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon

_NUDGE_L0 = (1e-6, 2.7e-7)
"""A point on a border shared by two regions belongs to the one on its right or below: to one."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskImage:
    """A region drawn as an image over the slide's bounds."""

    inside: NDArray[np.bool_]
    """``(H, W)``."""
    bounds: Box
    """Level-0 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """Where cells are counted.

    Attributes
    ----------
    name
        File name it was read from.
    sha256
        Of that file.
    include
        None counts everywhere but in ``exclude``.
    exclude
        None excludes nothing.
    include_classes, exclude_classes
        Classes of the annotations that make up the two.
    unused_classes
        Classes in the file that are neither.
    repaired
        Polygons whose outline crossed itself and was mended.
    """

    name: str
    sha256: str
    include: Area | MaskImage | None
    exclude: Area | None = None
    include_classes: tuple[str, ...] = ()
    exclude_classes: tuple[str, ...] = ()
    unused_classes: tuple[str, ...] = ()
    repaired: int = 0

    @property
    def names_cells(self) -> bool:
        """Whether it says which cells are meant, rather than only which are not."""
        return self.include is not None

    def contains(self, x_l0: NDArray[np.float64], y_l0: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each point whether it is inside; a point on a border is in one region only."""
        if self.include is None:
            inside = np.ones(len(x_l0), bool)
        elif isinstance(self.include, MaskImage):
            inside = _in_mask(self.include, x_l0, y_l0)
        else:
            inside = _in_area(self.include, x_l0, y_l0)
        if self.exclude is not None:
            rows = np.flatnonzero(inside)
            inside[rows] = ~_in_area(self.exclude, x_l0[rows], y_l0[rows])
        return inside


def _in_area(area: Area, x_l0: NDArray[np.float64], y_l0: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Exact point in polygon; points outside the polygon's box are never looked at twice."""
    inside = np.zeros(len(x_l0), bool)
    x0, y0, x1, y1 = area.bounds
    near = np.flatnonzero((x_l0 >= x0 - 1) & (x_l0 <= x1 + 1) & (y_l0 >= y0 - 1) & (y_l0 <= y1 + 1))
    shapely.prepare(area)
    inside[near] = shapely.contains_xy(area, x_l0[near] + _NUDGE_L0[0], y_l0[near] + _NUDGE_L0[1])
    return inside


def _in_mask(
    mask: MaskImage, x_l0: NDArray[np.float64], y_l0: NDArray[np.float64]
) -> NDArray[np.bool_]:
    height, width = mask.inside.shape
    col = np.floor((x_l0 - mask.bounds.x0) * (width / mask.bounds.width)).astype(np.int64)
    row = np.floor((y_l0 - mask.bounds.y0) * (height / mask.bounds.height)).astype(np.int64)
    # the model's plane may reach beyond the slide by less than a pixel of its own
    return np.asarray(mask.inside[np.clip(row, 0, height - 1), np.clip(col, 0, width - 1)])
