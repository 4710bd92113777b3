"""Where the cells of a synthetic slide are: nests, stroma, gaps and every nucleus, in um.

Nuclei are proposed per block of the plane from (seed, block) and thinned by a local rule (a
proposal survives where no stronger one is too near, in `ROUNDS` rounds), so any rectangle of the
plane can be asked for on its own and always holds exactly the same cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtri

from pipeline.io.synthetic.noise import F32, F64, Index, NoiseMap, noise_map
from pipeline.io.synthetic.ranges import SlideStyle

BLOCK_UM = 64.0
MIN_DISTANCE_UM = 4.6
MAX_RADIUS_UM = 6.0
MAX_LENGTH_UM = 12.0
ROUNDS = 4
REACH_UM = 2.2 * MAX_RADIUS_UM
"""One round of thinning looks at most this far, so ROUNDS of them settle a rectangle exactly."""
UNIFORMS = 20
TUMOUR, SPINDLE, LYMPHOCYTE = 0, 1, 2

TissueDepth = Callable[[F64, F64], F32]


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """Columns, one row per nucleus; lengths in um.

    `kind` is TUMOUR, SPINDLE or LYMPHOCYTE; only tumour nuclei are cells of the truth.
    `uniforms` float64 (n, 20) in 0..1 are the nucleus's own random numbers.
    """

    x_um: F64
    y_um: F64
    radius_um: F64
    kind: NDArray[np.uint8]
    positive: NDArray[np.bool_]
    uniforms: F64

    def take(self, rows: NDArray[np.bool_] | Index) -> "Nuclei":
        """Return the rows chosen by a mask or an order."""
        return Nuclei(
            self.x_um[rows],
            self.y_um[rows],
            self.radius_um[rows],
            self.kind[rows],
            self.positive[rows],
            self.uniforms[rows],
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Nuclei"]) -> "Nuclei":
        """Return all rows of `parts` (at least one part) in their order."""
        return cls(
            np.concatenate([part.x_um for part in parts]),
            np.concatenate([part.y_um for part in parts]),
            np.concatenate([part.radius_um for part in parts]),
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.positive for part in parts]),
            np.concatenate([part.uniforms for part in parts]),
        )

    def inside(self, x0_um: float, y0_um: float, x1_um: float, y1_um: float) -> "Nuclei":
        """Return the rows with x0 <= x < x1 and y0 <= y < y1."""
        rows = (self.x_um >= x0_um) & (self.x_um < x1_um)
        rows &= (self.y_um >= y0_um) & (self.y_um < y1_um)
        return self.take(rows)


NO_NUCLEI = Nuclei(
    np.empty(0),
    np.empty(0),
    np.empty(0),
    np.empty(0, np.uint8),
    np.empty(0, np.bool_),
    np.empty((0, UNIFORMS)),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """The procedural plane of one slide.

    `tissue_depth(x_um, y_um)` is the distance to the tissue border in um, negative outside, and
    changes by at most 1 um per um along either axis; None means tissue everywhere.
    """

    seed: int
    style: SlideStyle
    tissue_depth: TissueDepth | None = None

    @property
    def nests(self) -> NoiseMap:
        """Noise that divides tumour nests from stroma."""
        return noise_map(self.seed, 1, 90.0)

    @property
    def gaps(self) -> NoiseMap:
        """Noise whose peaks are lumens without tissue."""
        return noise_map(self.seed, 2, 38.0)

    @property
    def hotspots(self) -> NoiseMap:
        """Noise that moves the positive share up and down."""
        return noise_map(self.seed, 3, 170.0)

    @property
    def nest_level(self) -> float:
        """Noise above this is nest: the quantile that leaves the nest share."""
        return -float(ndtri(self.style.nest_share))

    @property
    def gap_level(self) -> float:
        """Noise above this is a gap."""
        return -float(ndtri(self.style.gap_share))

    def is_glass(
        self, x_um: float, y_um: float, width_um: float, height_um: float, *, reach_um: float
    ) -> bool:
        """Whether no tissue lies within `reach_um` of a rectangle; False when in doubt."""
        if self.tissue_depth is None:
            return False
        centre = np.array([x_um + width_um / 2]), np.array([y_um + height_um / 2])
        half_um = float(np.hypot(width_um, height_um)) / 2
        # The depth changes by at most 1 um per um along either axis.
        return bool(-self.tissue_depth(*centre)[0] > np.sqrt(2.0) * (half_um + reach_um))

    def nuclei_in(self, x0_um: float, y0_um: float, x1_um: float, y1_um: float) -> Nuclei:
        """Return all nuclei with x0 <= x < x1 and y0 <= y < y1, ordered by y then x."""
        margin = ROUNDS * REACH_UM
        proposals = self._proposals(x0_um - margin, y0_um - margin, x1_um + margin, y1_um + margin)
        settled = proposals.take(_settle(proposals, self.style.touch))
        settled = settled.inside(x0_um, y0_um, x1_um, y1_um)
        return settled.take(np.lexsort((settled.x_um, settled.y_um)))

    def _proposals(self, x0: float, y0: float, x1: float, y1: float) -> Nuclei:
        """Proposals of all blocks that meet a rectangle."""
        rows = range(int(np.floor(y0 / BLOCK_UM)), int(np.ceil(y1 / BLOCK_UM)))
        cols = range(int(np.floor(x0 / BLOCK_UM)), int(np.ceil(x1 / BLOCK_UM)))
        return self._kept(np.concatenate([self._draws(row, col) for row in rows for col in cols]))

    def _draws(self, row: int, col: int) -> F64:
        """Uniforms of one block's proposals, (n, 20); columns 0 and 1 become x and y in um."""
        rng = np.random.default_rng((self.seed, 3, row + 2**20, col + 2**20))
        count = max(1, round(self.style.proposals_per_100um2 * BLOCK_UM * BLOCK_UM / 100.0))
        draws = rng.random((count, UNIFORMS))
        draws[:, 0] = (col + draws[:, 0]) * BLOCK_UM
        draws[:, 1] = (row + draws[:, 1]) * BLOCK_UM
        return draws

    def _kept(self, draws: F64) -> Nuclei:
        """Proposals that stand in tissue, with their kind, size and label."""
        style = self.style
        x, y = draws[:, 0], draws[:, 1]
        # The nest border is jagged by each proposal's own draw: no ruled line between tissues.
        nest = self.nests.at(x, y) + 0.5 * (draws[:, 2] - 0.5) > self.nest_level
        keep = self.gaps.at(x, y) < self.gap_level - 0.15
        keep &= draws[:, 3] < np.where(nest, 1.0, 0.13)
        if self.tissue_depth is not None:
            keep &= self.tissue_depth(x, y) > 2.0
        draws, x, y, nest = draws[keep], x[keep], y[keep], nest[keep]
        kind = np.full(x.size, TUMOUR, np.uint8)
        kind[draws[:, 4] < np.where(nest, 0.012, 0.08)] = LYMPHOCYTE
        kind[draws[:, 4] > np.where(nest, 0.995, 0.80)] = SPINDLE
        radius = style.radius_um * np.exp(style.radius_spread * _normal(draws[:, 5], draws[:, 6]))
        radius = np.clip(radius, 1.9, MAX_RADIUS_UM)
        radius = np.where(kind == TUMOUR, radius, 0.62 * style.radius_um)
        # The threshold follows a smooth map, so positive cells cluster and form hotspots.
        share = np.clip(style.positive_share, 1e-4, 1 - 1e-4)
        logit = np.log(share / (1 - share)) + 0.7 * self.hotspots.at(x, y)
        positive = (draws[:, 7] < 1 / (1 + np.exp(-logit))) & (kind == TUMOUR)
        return Nuclei(x, y, radius, kind, positive, draws)


def _normal(u: F64, v: F64) -> F64:
    """Normal deviates from two uniforms, clipped to two standard deviations."""
    radius = np.sqrt(-2.0 * np.log(np.maximum(u, 1e-12)))
    return np.asarray(np.clip(radius * np.cos(2 * np.pi * v), -2.0, 2.0))


def _settle(proposals: Nuclei, touch: float) -> NDArray[np.bool_]:
    """Mask of the proposals that stay: strongest first, none too near another.

    Two nuclei keep max(4.6 um, touch * (sum of radii)) between their centres. Each round accepts
    the proposals stronger than every open neighbour and removes what stands too near them; what
    is open after the last round is dropped. Every round looks at most REACH_UM far.
    """
    count = proposals.x_um.size
    accepted = np.zeros(count, bool)
    if count == 0:
        return accepted
    points = np.column_stack([proposals.x_um, proposals.y_um])
    pairs = cKDTree(points).query_pairs(_widest(proposals, touch), output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]
    needed = touch * (proposals.radius_um[first] + proposals.radius_um[second])
    needed = np.clip(needed, MIN_DISTANCE_UM, REACH_UM)
    step = points[first] - points[second]
    near = step[:, 0] ** 2 + step[:, 1] ** 2 < needed**2
    first, second = first[near], second[near]
    strength = proposals.uniforms[:, 8]
    swap = strength[first] > strength[second]
    weaker, stronger = np.where(swap, second, first), np.where(swap, first, second)
    open_ = np.ones(count, bool)
    for _ in range(ROUNDS):
        beaten = np.zeros(count, bool)
        beaten[weaker[open_[weaker] & open_[stronger]]] = True
        winners = open_ & ~beaten
        accepted |= winners
        open_ &= ~winners
        open_[weaker[winners[stronger]]] = False
    return accepted


def _widest(proposals: Nuclei, touch: float) -> float:
    """Farthest distance at which two of these proposals can be too near, in um."""
    widest = 2.0 * touch * float(proposals.radius_um.max())
    return min(max(widest, MIN_DISTANCE_UM), REACH_UM) * 1.0001
