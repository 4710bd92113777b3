"""From counts to a labelling index, its counting error, and the state a slide ends in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.squares import check_cells, count_squares

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def labelling_index_pct(positive: int, total: int) -> float | None:
    """Positive cells in percent of all cells; None without a cell (0/0 is not 0 %)."""
    _check(positive, total)
    return 100.0 * positive / total if total else None


def wilson95(positive: int, total: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of the index in percent; None without a cell.

    It covers the error of counting independent cells only, not of finding or classifying them.
    """
    _check(positive, total)
    if not total:
        return None
    share, spread = positive / total, Z95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    # rounding must not move the ends that are exactly 0 and 100
    low = 0.0 if positive == 0 else centre - half
    high = 1.0 if positive == total else centre + half
    return 100.0 * low, 100.0 * high


@dataclass(frozen=True, slots=True)
class FieldMean:
    """The mean of the indices of fields; None where no field holds enough cells."""

    mean_pct: float | None
    fields: int


def unweighted_field_mean(
    x_um: NDArray[np.float64],
    y_um: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    field_um: float = 500.0,
    min_cells: int = 100,
) -> FieldMean:
    """Average the indices of fields, each field counting alike however many cells it holds.

    The nearest a full count comes to the unweighted global score of a reader, who averages fields
    of 100 cells. A field is a square of about one high-power field of view (0.5 mm across): squares
    take each cell exactly once, which circles do not.

    Parameters
    ----------
    x_um, y_um
        ``(N,)``, finite, in micrometres of any frame.
    positive
        ``(N,)``.
    field_um
        Side of a field; the lattice starts at the smallest x and y of the cells.
    min_cells
        Fields with fewer are left out.

    Raises
    ------
    ValueError
        The columns do not belong together, or ``field_um`` or ``min_cells`` is not above 0.
    """
    check_cells(x_um, y_um, positive)
    if field_um <= 0 or min_cells < 1:
        raise ValueError(f"field_um={field_um} and min_cells={min_cells} must be above 0")
    counts = count_squares(x_um, y_um, positive, side_um=field_um)
    enough = counts.total >= min_cells
    fields = int(np.count_nonzero(enough))
    shares = counts.positive[enough] / counts.total[enough]
    mean = 100.0 * float(shares.mean()) if fields else None
    return FieldMean(mean, fields)


def score_status(
    total: int, analysed_mm2: float, tissue_mm2: float, flags: Sequence[str], min_cells: int
) -> tuple[str, str | None]:
    """Choose a processed slide's status and the sentence that says why, None for ``ok``.

    Parameters
    ----------
    total
        Cells counted in the analysed area.
    flags
        Names of what a reader of the number should look at.
    min_cells
        Fewer cells give no index to be categorised; the number is still shown.

    Returns
    -------
    ``no_tissue``, ``too_few_cells``, ``ok_with_flags`` or ``ok``, the first that holds.
    """
    if tissue_mm2 <= 0:
        return "no_tissue", "no tissue was found"
    if total < min_cells:
        where = f"in {analysed_mm2:.3g} mm2 analysed of {tissue_mm2:.3g} mm2 tissue"
        return "too_few_cells", f"{total} cells {where}; {min_cells} are needed"
    if flags:
        return "ok_with_flags", ", ".join(flags)
    return "ok", None


def _check(positive: int, total: int) -> None:
    if not 0 <= positive <= total:
        raise ValueError(f"{positive} positive of {total} cells cannot be")
