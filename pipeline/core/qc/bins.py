"""Bins, in which quality is measured: squares of model-frame pixels on one slide-wide lattice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.frame import PlaneFrame

MEASURES = (
    "tissue",
    "sharpness",
    "detail",
    "density",
    "floor",
    "haematoxylin",
    "brown",
    "granular",
    "slab",
    "pink",
    "ink",
    "dark",
    "classical_positive",
    "classical_negative",
)
"""Names of the measures in the order of their axis; ``core.qc.measures`` says what they are."""

_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class BinLayout:
    """The bins of a slide: ``bin_px`` pixels of ``frame`` a side, counted from its corner."""

    frame: PlaneFrame
    bin_px: int

    def __post_init__(self) -> None:
        if self.bin_px < 1:
            raise ValueError(f"bin_px={self.bin_px} must be at least 1")

    @property
    def rows(self) -> int:
        """Bins from top to bottom."""
        return -(-self.frame.height // self.bin_px)

    @property
    def cols(self) -> int:
        """Bins from left to right."""
        return -(-self.frame.width // self.bin_px)

    def of_points(
        self, x_l0: NDArray[np.float64], y_l0: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and column of each level-0 point's bin; points beyond the plane take the edge's."""
        x_px, y_px = self.frame.from_l0(x_l0, y_l0)
        col = np.clip((x_px // self.bin_px).astype(np.intp), 0, self.cols - 1)
        row = np.clip((y_px // self.bin_px).astype(np.intp), 0, self.rows - 1)
        return row, col

    def counted(self, x_l0: NDArray[np.float64], y_l0: NDArray[np.float64]) -> NDArray[np.int64]:
        """Points in each bin, ``(rows, cols)``."""
        row, col = self.of_points(x_l0, y_l0)
        number = np.bincount(row * self.cols + col, minlength=self.rows * self.cols)
        return np.asarray(number, np.int64).reshape(self.rows, self.cols)

    def spread(self, bins: NDArray[np.bool_], over: PlaneFrame) -> NDArray[np.bool_]:
        """``(over.height, over.width)``: the pixels of ``over`` whose centre lies in a True bin."""
        row, col = self.under(over)
        return np.asarray(bins[np.ix_(row, col)])

    def share(self, mask: NDArray[np.bool_], over: PlaneFrame) -> NDArray[np.float32]:
        """``(rows, cols)``: share of each bin's pixels of ``over`` that the mask holds."""
        row, col = self.under(over)
        bins = self.rows * self.cols
        inside = np.zeros(bins, np.int64)
        for top in range(0, over.height, _ROWS_AT_ONCE):
            some = slice(top, top + _ROWS_AT_ONCE)
            place = row[some, None] * self.cols + col
            inside += np.bincount(place[mask[some]], minlength=bins)
        whole = np.outer(
            np.bincount(row, minlength=self.rows), np.bincount(col, minlength=self.cols)
        )
        return np.asarray(inside.reshape(whole.shape) / np.maximum(whole, 1), np.float32)

    def under(self, over: PlaneFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Bin row of each pixel row of ``over`` and bin column of each of its columns."""
        centre_x = np.arange(over.width, dtype=np.float64) + 0.5
        centre_y = np.arange(over.height, dtype=np.float64) + 0.5
        x_l0, y_l0 = over.to_l0(centre_x, centre_y)
        row, _ = self.of_points(np.full(over.height, float(over.origin_x_l0)), y_l0)
        _, col = self.of_points(x_l0, np.full(over.width, float(over.origin_y_l0)))
        return row, col
