"""The 95 % interval of an index whose cells are clustered: whole blocks of tissue are resampled."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.core.scoring import Z95
from pipeline.core.squares import SquareCounts, check_cells, count_squares

MIN_BLOCKS = 4.0
"""Fewer blocks' worth of cells say nothing of how blocks differ."""
SQUARES_PER_BLOCK = 20
"""Cells are counted once in squares of this part of a block; blocks are made of squares."""
SMALL_BLOCK = 5
"""Side, in squares, of the small block that tells with the large one how far clusters reach."""
ORIGINS = 16
"""How many lattices of blocks, each moved by another random step, are resampled."""
LONGEST_PER_BLOCK = 0.5
"""Longest correlation, as a part of a block, that is corrected for."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much the index varies from block to block, averaged over lattices.

    Attributes
    ----------
    variance
        Of the index as a share, by the ratio estimator: the blocks' squared residuals.
    blocks
        So many blocks of equal numbers of cells would vary as little.
    """

    variance: float
    blocks: float


def block_bootstrap95(
    x_um: NDArray[np.float64],
    y_um: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    block_um: float = 1000.0,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Bootstrap the index over square blocks of tissue.

    Blocks are drawn with replacement from lattices with random origins, and the index of each draw
    is taken. Its spread about the slide's index, on the angular scale ``asin(sqrt(share))``, is
    widened for what blocks miss: that few blocks are few (Student's t), and that clusters reach
    across the borders of blocks. How far they reach is read off the variances that blocks and
    blocks of a quarter their side give; a block side fixed beforehand would otherwise be too short
    for some slides and wastefully long for others.

    Parameters
    ----------
    x_um, y_um
        ``(N,)``, finite, in micrometres of any frame.
    positive
        ``(N,)``.
    block_um
        Side of a block; chosen before any slide is seen.
    replicates
        Draws, shared among the lattices.
    seed
        Of the lattices and the draws.

    Returns
    -------
    Low and high end in percent; None where the cells lie in too few blocks, or where none or all
    of them are positive, so that blocks do not differ.

    Raises
    ------
    ValueError
        The columns do not belong together, or a setting is not above 0.
    """
    check_cells(x_um, y_um, positive)
    if block_um <= 0 or replicates < 1:
        raise ValueError(f"block_um={block_um} and replicates={replicates} must be above 0")
    marked, cells = int(np.count_nonzero(positive)), len(x_um)
    if marked in (0, cells):
        return None
    squares = count_squares(x_um, y_um, positive, side_um=block_um / SQUARES_PER_BLOCK)
    generator = np.random.Generator(np.random.PCG64(seed))
    steps = generator.integers(SQUARES_PER_BLOCK, size=(ORIGINS, 2)).tolist()
    lattices = [squares.joined(SQUARES_PER_BLOCK, right=x, down=y) for x, y in steps]
    large = _spread(lattices)
    if large.blocks < MIN_BLOCKS:
        return None
    small = _spread([squares.joined(SMALL_BLOCK, right=x, down=y) for x, y in steps])
    share = marked / cells
    true_variance = _variance(small, large, share * (1 - share) / cells)
    quantile = float(special.stdtrit(large.blocks - 1, 0.975))
    widening = math.sqrt(true_variance / large.variance) * quantile / Z95
    angles = np.concatenate(
        [_resampled(one, math.ceil(replicates / ORIGINS), generator) for one in lattices]
    )
    middle = math.asin(math.sqrt(share))
    ends = middle + widening * (np.quantile(angles, (0.025, 0.975)) - middle)
    low, high = 100.0 * np.sin(np.clip(ends, 0, math.pi / 2)) ** 2
    return float(low), float(high)


def _spread(lattices: list[SquareCounts]) -> Spread:
    """Average the variance of the index, and the number of blocks, over lattices."""
    variances, blocks = [], []
    for one in lattices:
        cells = int(one.total.sum())
        residual = one.positive - one.total * (int(one.positive.sum()) / cells)
        variances.append(float(residual @ residual) / cells**2)
        blocks.append(cells**2 / float(one.total.astype(np.float64) @ one.total))
    return Spread(sum(variances) / len(variances), sum(blocks) / len(blocks))


def _variance(small: Spread, large: Spread, binomial: float) -> float:
    """Variance of the index once what lies between blocks is added, as a share squared.

    What exceeds the binomial variance comes from pairs of cells in one block. Under a correlation
    ``exp(-(r / L)^2)`` a block of side B keeps the part ``kept(B / L)`` of all pairs; the ratio
    between two block sides gives L.
    """
    within_small, within_large = (
        max(one.variance * one.blocks / max(one.blocks - 1, 1) - binomial, 0.0)
        for one in (small, large)
    )
    if not within_large:
        return max(binomial, large.variance)
    lengths = np.linspace(0.01, LONGEST_PER_BLOCK, 200)
    ratios = kept(1 / lengths) / kept(SMALL_BLOCK / SQUARES_PER_BLOCK / lengths)
    ratio = within_large / within_small if within_small else 1.0
    length = float(np.interp(ratio, ratios, lengths))
    return binomial + within_large / float(kept(np.array(1 / length)))


def kept(side: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of a Gaussian correlation that stays within square blocks at a random origin.

    ``side`` is that of a block in correlation lengths; the result rises from 0 to 1.
    """
    along = special.erf(side) - -np.expm1(-(side**2)) / (side * math.sqrt(math.pi))
    return np.asarray(along**2)


def _resampled(
    blocks: SquareCounts, replicates: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Index of draws of blocks with replacement, as angles, ``(replicates,)``."""
    number = len(blocks.total)
    draws = generator.multinomial(number, np.full(number, 1 / number), size=replicates)
    return np.asarray(np.arcsin(np.sqrt((draws @ blocks.positive) / (draws @ blocks.total))))
