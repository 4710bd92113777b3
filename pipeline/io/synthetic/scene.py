"""Where tissue and nuclei are on a synthetic slide: a function of the seed and the place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.io.synthetic.noise import Floats, normal, smooth_at, uniform
from pipeline.io.synthetic.ranges import SceneParameters

PITCH_UM = 9.0
"""One place for a nucleus per square of this side."""
LEAST_SEPARATION_UM = 4.6
REACH_UM = 11.0
"""No nucleus reaches farther than this from its centre."""

NOT_TRUTH = 2
"""Kind of a stromal or lymphoid nucleus: drawn, but no tumour cell of the truth."""


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """Columns, one row per nucleus; coordinates in micrometres from the slide's corner.

    ``kind`` is 1 positive, 0 negative (both tumour cells of the truth) or ``NOT_TRUTH``.
    """

    x_um: Floats
    y_um: Floats
    major_um: Floats
    minor_um: Floats
    angle: Floats
    haematoxylin_od: Floats
    dab_od: Floats
    shape_seed: Floats
    kind: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.x_um)

    def take(self, rows: NDArray[np.bool_]) -> "Nuclei":
        """The rows of a boolean mask."""
        return Nuclei(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Island:
    """One piece of tissue: an ellipse whose edge is frayed by noise."""

    x_um: float
    y_um: float
    radius_x_um: float
    radius_y_um: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A slide's contents. Without islands everything is tissue (a field)."""

    parameters: SceneParameters
    islands: tuple[Island, ...] = ()

    def tissue_at(self, x_um: Floats, y_um: Floats) -> NDArray[np.bool_]:
        """Whether places of one shape lie on tissue."""
        if not self.islands:
            return np.ones(x_um.shape, bool)
        seed = self.parameters.seed
        fray = 0.35 * (smooth_at(seed, 11, x_um, y_um, 700.0) - 0.5)
        fray += 0.12 * (smooth_at(seed, 12, x_um, y_um, 120.0) - 0.5)
        inside = np.zeros(x_um.shape, bool)
        for island in self.islands:
            u = (x_um - island.x_um) / island.radius_x_um
            v = (y_um - island.y_um) / island.radius_y_um
            inside |= np.hypot(u, v) + fray < 1.0
        return inside

    def tumour_at(self, x_um: Floats, y_um: Floats) -> Floats:
        """How much a place belongs to a tumour nest: above 0 inside, below 0 in the stroma."""
        seed = self.parameters.seed
        coarse = smooth_at(seed, 13, x_um, y_um, 210.0)
        fine = smooth_at(seed, 14, x_um, y_um, 60.0)
        return np.asarray(0.7 * coarse + 0.3 * fine - 0.40)

    def gap_at(self, x_um: Floats, y_um: Floats) -> NDArray[np.bool_]:
        """Whether a place is a lumen or a tear: no tissue within the tissue."""
        seed = self.parameters.seed
        hollow = 0.75 * smooth_at(seed, 15, x_um, y_um, 130.0)
        hollow += 0.25 * smooth_at(seed, 16, x_um, y_um, 30.0)
        return np.asarray(hollow > 0.80)

    def nuclei(self, x0_um: float, y0_um: float, x1_um: float, y1_um: float) -> Nuclei:
        """All nuclei whose centre lies in a half-open rectangle, in a fixed order."""
        first_x, last_x = int(np.floor(x0_um / PITCH_UM)) - 1, int(np.ceil(x1_um / PITCH_UM)) + 1
        first_y, last_y = int(np.floor(y0_um / PITCH_UM)) - 1, int(np.ceil(y1_um / PITCH_UM)) + 1
        iy, ix = np.mgrid[first_y : last_y + 1, first_x : last_x + 1].reshape(2, -1)
        found = self._nuclei_of_places(ix.astype(np.int64), iy.astype(np.int64))
        inside = (found.x_um >= x0_um) & (found.x_um < x1_um)
        inside &= (found.y_um >= y0_um) & (found.y_um < y1_um)
        return found.take(inside)

    def _nuclei_of_places(self, ix: NDArray[np.int64], iy: NDArray[np.int64]) -> Nuclei:
        p = self.parameters
        free = (PITCH_UM - LEAST_SEPARATION_UM) / 2
        # odd rows are shifted by half a pitch, as cells pack
        x_um = (ix + 0.5 + 0.5 * (iy % 2)) * PITCH_UM + free * (
            2 * uniform(p.seed, 21, ix, iy) - 1
        )
        y_um = (iy + 0.5) * PITCH_UM + free * (2 * uniform(p.seed, 22, ix, iy) - 1)
        nest = self.tumour_at(x_um, y_um)
        room = self.tissue_at(x_um, y_um) & ~self.gap_at(x_um, y_um)
        chance = uniform(p.seed, 23, ix, iy)
        tumour = room & (nest > 0) & (chance < p.density)
        stroma = room & (nest <= -0.02) & (chance < 0.07)
        keep = tumour | stroma
        return self._drawn(ix[keep], iy[keep], x_um[keep], y_um[keep], tumour[keep])

    def _drawn(
        self,
        ix: NDArray[np.int64],
        iy: NDArray[np.int64],
        x_um: Floats,
        y_um: Floats,
        tumour: NDArray[np.bool_],
    ) -> Nuclei:
        p = self.parameters
        share = p.positive_share * (0.4 + 1.2 * smooth_at(p.seed, 17, x_um, y_um, 400.0))
        positive = tumour & (uniform(p.seed, 24, ix, iy) < share)
        major = p.radius_um * np.exp(0.16 * np.clip(normal(p.seed, 25, ix, iy), -2.2, 2.2))
        ratio = 0.62 + 0.36 * uniform(p.seed, 26, ix, iy)
        spindle = ~tumour & (uniform(p.seed, 27, ix, iy) < 0.7)
        lymphoid = ~tumour & ~spindle
        major = np.where(spindle, 1.25 * p.radius_um, np.where(lymphoid, 2.5, major))
        ratio = np.where(spindle, 0.28, np.where(lymphoid, 0.92, ratio))
        strength = np.exp(0.25 * np.clip(normal(p.seed, 28, ix, iy), -2, 2))
        # about one positive in five is weak, as on real slides
        weak = np.where(uniform(p.seed, 29, ix, iy) < 0.2, 0.45, 1.0)
        dab = np.where(positive, np.clip(p.dab_od * strength * weak, 0.42, 2.6), 0.0)
        haematoxylin = np.where(positive, 0.5, 1.0) * p.haematoxylin_od * strength
        haematoxylin = np.where(lymphoid, 1.5 * p.haematoxylin_od, haematoxylin)
        kind = np.where(tumour, np.where(positive, POSITIVE, NEGATIVE), NOT_TRUTH)
        return Nuclei(
            x_um,
            y_um,
            np.minimum(major, 0.7 * REACH_UM),
            np.minimum(major * ratio, 0.7 * REACH_UM),
            np.pi * uniform(p.seed, 30, ix, iy),
            haematoxylin,
            dab,
            uniform(p.seed, 31, ix, iy),
            kind.astype(np.uint8),
        )
