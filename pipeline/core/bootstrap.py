"""The 95 % interval of an index whose cells are clustered: whole blocks of tissue are resampled."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.squares import check_cells, square_counts

MIN_BLOCKS = 6
"""With fewer occupied blocks nothing is known of how blocks differ."""


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

    Parameters
    ----------
    x_um, y_um
        ``(N,)``, finite, in micrometres of any frame.
    positive
        ``(N,)``.
    block_um
        Side of a block; chosen before any slide is seen.
    replicates
        Resamples.
    seed
        Of the resamples.

    Returns
    -------
    Low and high end in percent; None where the cells lie in too few blocks.

    Raises
    ------
    ValueError
        The columns do not belong together, or a setting is not above 0.
    """
    check_cells(x_um, y_um, positive)
    if block_um <= 0 or replicates < 1:
        raise ValueError(f"block_um={block_um} and replicates={replicates} must be above 0")
    marked, total = square_counts(x_um, y_um, positive, side_um=block_um)
    if len(total) < MIN_BLOCKS:
        return None
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(total), np.full(len(total), 1 / len(total)), size=replicates)
    indices = 100.0 * (draws @ marked) / (draws @ total)
    low, high = np.quantile(indices, (0.025, 0.975))
    return float(low), float(high)
