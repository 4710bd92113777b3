"""Cell points in level-0 pixels: the only table of cells that leaves a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEGATIVE = 0
POSITIVE = 1
LABEL_NAMES = ("negative", "positive")
"""Words used in files, indexed by label."""


@dataclass(frozen=True, slots=True, eq=False)
class CellPoints:
    """Columns of equal length, one row per cell.

    Attributes
    ----------
    x_l0, y_l0
        float64, level-0 pixels; the centre of the first pixel is (0.5, 0.5).
    score
        float32, the heatmap's value at the peak.
    label
        uint8, 1 positive, 0 negative.
    """

    x_l0: NDArray[np.float64]
    y_l0: NDArray[np.float64]
    score: NDArray[np.float32]
    label: NDArray[np.uint8]

    def __post_init__(self) -> None:
        columns: tuple[NDArray[Any], ...] = (self.x_l0, self.y_l0, self.score, self.label)
        dtypes = (np.float64, np.float64, np.float32, np.uint8)
        for column, dtype in zip(columns, dtypes, strict=True):
            if column.ndim != 1 or column.dtype != dtype or len(column) != len(self.x_l0):
                raise ValueError(
                    f"cell columns must be 1-D, equally long and {dtype.__name__}; "
                    f"got {column.dtype} {column.shape}"
                )

    def __len__(self) -> int:
        return len(self.x_l0)

    @classmethod
    def empty(cls) -> "CellPoints":
        """No cells."""
        return cls(np.empty(0), np.empty(0), np.empty(0, np.float32), np.empty(0, np.uint8))

    @classmethod
    def concatenate(cls, parts: Sequence["CellPoints"]) -> "CellPoints":
        """All rows of ``parts`` in their order."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([part.x_l0 for part in parts]),
            np.concatenate([part.y_l0 for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.label for part in parts]),
        )

    def take(self, rows: NDArray[Any]) -> "CellPoints":
        """Take the rows named by an index array or a boolean mask."""
        return CellPoints(self.x_l0[rows], self.y_l0[rows], self.score[rows], self.label[rows])

    def sorted(self) -> "CellPoints":
        """Rows ordered by (y, x, score, label): one order whatever made them."""
        return self.take(np.lexsort((self.label, self.score, self.x_l0, self.y_l0)))

    @property
    def positive(self) -> int:
        """Number of positive cells."""
        return int(np.count_nonzero(self.label == POSITIVE))

    @property
    def negative(self) -> int:
        """Number of negative cells."""
        return len(self) - self.positive
