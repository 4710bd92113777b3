"""One slide-wide lattice of tiles with disjoint cores, and regions of k x k tiles."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

SQUARE_UM = 64.0
"""Tissue, damage and quality are told in squares of about this side: some twenty nuclei of tumour,
small beside a fold or a stroke of a pen."""
MOST_SQUARES = 24
"""Squares of a tile's side: which rectangles of them are cheapest is searched among all."""
STRIDE_PX = 32
"""Pixels that one of a network's deepest takes in: its inputs are whole numbers of it."""


def square_side(core_px: int, mpp_um: float) -> int:
    """Side of a square in model-frame pixels: the divisor of a tile's core next to ``SQUARE_UM``.

    A square so lies in one tile's core, and starts at a multiple of the network's stride.

    Parameters
    ----------
    core_px
        A multiple of ``STRIDE_PX``.
    mpp_um
        Of the model frame.
    """
    if core_px < 1 or core_px % STRIDE_PX:
        raise ValueError(f"core_px={core_px} is not a multiple of {STRIDE_PX}")
    sides = [
        side
        for side in range(STRIDE_PX, core_px + 1, STRIDE_PX)
        if core_px % side == 0 and core_px // side <= MOST_SQUARES
    ]
    return min(sides, key=lambda side: (abs(log(side * mpp_um / SQUARE_UM)), side))


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open rectangle ``[x0, x1) x [y0, y1)`` of integer pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if self.x1 < self.x0 or self.y1 < self.y0:
            raise ValueError(f"box ends before it begins: {self}")

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    def grown(self, margin: int) -> "Box":
        """Grow the box by ``margin`` pixels on every side."""
        return Box(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)


@dataclass(frozen=True, slots=True)
class Tile:
    """One prediction: a full square is read (``source``), only ``core`` is kept."""

    row: int
    col: int
    core: Box
    """Pixels this tile owns, clipped to the plane."""
    source: Box
    """Core and halo, never clipped: every tile is predicted at the same shape."""


@dataclass(frozen=True, slots=True)
class TileLattice:
    """Partition of a ``width`` x ``height`` plane (model-frame pixels) into tile cores.

    Cores start at multiples of ``core``, which like ``halo`` is a multiple of the network's
    ``stride``, so that the network samples every tile at the same phase.

    Raises
    ------
    ValueError
        When a size is not positive or not a multiple of the stride.
    """

    width: int
    height: int
    core: int
    halo: int
    stride: int = STRIDE_PX
    square: int = STRIDE_PX
    """Side of the squares that every core consists of."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"empty plane: {self.width} x {self.height}")
        for name, value, least in (("core", self.core, 1), ("halo", self.halo, 0)):
            if value < least or value % self.stride:
                raise ValueError(f"{name}={value} is not a multiple of stride={self.stride}")
        if self.square < 1 or self.core % self.square:
            raise ValueError(f"core={self.core} is not a multiple of square={self.square}")

    @property
    def rows(self) -> int:
        """Tiles from top to bottom."""
        return -(-self.height // self.core)

    @property
    def cols(self) -> int:
        """Tiles from left to right."""
        return -(-self.width // self.core)

    @property
    def squares(self) -> "TileLattice":
        """The lattice of squares."""
        return TileLattice(self.width, self.height, self.square, 0, self.stride, self.square)

    def tile(self, row: int, col: int) -> Tile:
        """Find the tile at (row, col)."""
        if not (0 <= row < self.rows and 0 <= col < self.cols):
            raise IndexError(f"no tile ({row}, {col}) in {self.rows} x {self.cols}")
        x0, y0 = col * self.core, row * self.core
        full = Box(x0, y0, x0 + self.core, y0 + self.core)
        clipped = Box(x0, y0, min(full.x1, self.width), min(full.y1, self.height))
        return Tile(row, col, clipped, full.grown(self.halo))


@dataclass(frozen=True, slots=True)
class Region:
    """k x k tiles: the unit of task, read once and settled alone but for its borders."""

    index: int
    row: int
    col: int
    box: Box
    """Pixels of all its cores, clipped to the plane."""
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class RegionGrid:
    """The lattice grouped into regions of ``tiles_per_side`` x ``tiles_per_side`` tiles."""

    lattice: TileLattice
    tiles_per_side: int

    def __post_init__(self) -> None:
        if self.tiles_per_side < 1:
            raise ValueError(f"tiles_per_side={self.tiles_per_side} must be at least 1")

    @property
    def side(self) -> int:
        """Side of a whole region's box in pixels."""
        return self.tiles_per_side * self.lattice.core

    @property
    def rows(self) -> int:
        """Regions from top to bottom."""
        return -(-self.lattice.rows // self.tiles_per_side)

    @property
    def cols(self) -> int:
        """Regions from left to right."""
        return -(-self.lattice.cols // self.tiles_per_side)

    def __len__(self) -> int:
        return self.rows * self.cols

    def region(self, index: int) -> Region:
        """Find the region of one row-major index."""
        if not 0 <= index < len(self):
            raise IndexError(f"no region {index} in {self.rows} x {self.cols}")
        row, col = divmod(index, self.cols)
        k, lattice = self.tiles_per_side, self.lattice
        box = Box(
            col * self.side,
            row * self.side,
            min((col + 1) * self.side, lattice.width),
            min((row + 1) * self.side, lattice.height),
        )
        tiles = tuple(
            lattice.tile(tile_row, tile_col)
            for tile_row in range(row * k, min((row + 1) * k, lattice.rows))
            for tile_col in range(col * k, min((col + 1) * k, lattice.cols))
        )
        return Region(index, row, col, box, tiles)

    def __iter__(self) -> Iterator[Region]:
        return (self.region(index) for index in range(len(self)))
