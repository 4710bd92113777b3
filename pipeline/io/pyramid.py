"""Write a slide: a tiled, pyramidal JPEG BigTIFF in the Aperio manner, streamed from rows.

Level 0 is read strip by strip and encoded at once; each lower level is a quarter of the one above
(4 x 4 mean) and waits as raw rows in a temporary file, so memory is a few strips whatever the
height. OpenSlide and TiffSlide open the file as vendor "aperio" with the same mpp and levels.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.io.files import PARTIAL_SUFFIX, atomic_path

U8 = NDArray[np.uint8]
ReadRows = Callable[[int, int], U8]
"""(first row, number of rows) -> uint8 (rows, width, 3); asked for once, from top to bottom."""

STRIP_PX = 512
FACTOR = 4
SMALLEST_LEVEL_PX = 1024
_PRODUCT = "Aperio Image Library v12.0.0"


def write_pyramid(
    path: Path,
    width: int,
    height: int,
    mpp_um: float,
    read_rows: ReadRows,
    *,
    tile_px: int = 256,
    quality: int = 85,
    fill: tuple[int, int, int] = (243, 243, 243),
) -> None:
    """Write level 0 and its lower levels; the file appears under `path` only when it is whole.

    Parameters
    ----------
    path : Path
        Slide to write, `.tif` or `.svs`.
    width, height : int
        Level 0 in pixels.
    mpp_um : float
        Side of a level-0 pixel in um.
    read_rows : ReadRows
        Gives level 0 in strips of `STRIP_PX` rows (the last may be lower), top to bottom.
    tile_px : int
        Side of a TIFF tile, 256 or 512.
    quality : int
        JPEG quality, 1..100, without chroma subsampling.
    fill : tuple of int
        Colour beyond the right and bottom border inside the last tiles.

    Raises
    ------
    ConfigError
        A size, mpp, tile side or quality that cannot be written.
    OutputError
        The folder cannot be written.
    """
    _check(width, height, mpp_um, tile_px, quality)
    sizes = level_sizes(width, height)
    with (
        atomic_path(path) as partial,
        tempfile.TemporaryDirectory(suffix=PARTIAL_SUFFIX, dir=path.parent) as spool,
        ExitStack() as closing,
    ):
        lower = [
            closing.enter_context(_Rows(Path(spool) / f"level{i}", *size))
            for i, size in enumerate(sizes)
            if i
        ]
        encode = _TileEncoder(tile_px, quality, fill)
        with tifffile.TiffWriter(partial, bigtiff=True) as tiff:
            rows: Iterator[U8] = _top_rows(read_rows, width, height, lower)
            for index, size in enumerate(sizes):
                if index:
                    rows = lower[index - 1].strips()
                tiff.write(
                    (tile for strip in rows for tile in encode(strip)),
                    shape=(size[1], size[0], 3),
                    dtype=np.uint8,
                    tile=(tile_px, tile_px),
                    description=_description(sizes[0], size, mpp_um, tile_px, quality),
                    **_tags(mpp_um * FACTOR**index, quality),
                )
                if lower and index == 0:
                    _write_thumbnail(tiff, lower[-1], sizes, mpp_um, quality)


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """(width, height) of every level: quarters of the one before, down to about 1000 px."""
    sizes = [(width, height)]
    while max(sizes[-1]) > SMALLEST_LEVEL_PX:
        sizes.append((-(-sizes[-1][0] // FACTOR), -(-sizes[-1][1] // FACTOR)))
    return sizes


def quarter(rows: U8) -> U8:
    """Mean of blocks of 4 x 4, rounded; incomplete blocks repeat the last row and column.

    Parameters
    ----------
    rows : uint8 (h, w, 3)

    Returns
    -------
    uint8 (ceil(h / 4), ceil(w / 4), 3)
    """
    height, width = rows.shape[:2]
    spare = (-height % FACTOR, -width % FACTOR)
    if any(spare):
        rows = np.pad(rows, ((0, spare[0]), (0, spare[1]), (0, 0)), mode="edge")
    out = np.empty((rows.shape[0] // FACTOR, rows.shape[1] // FACTOR, 3), np.uint8)
    # In pieces that stay in the cache, and whole numbers: 16 * 255 fits in 16 bits.
    for left in range(0, rows.shape[1], 1024):
        part = rows[:, left : left + 1024]
        if _one_colour(part):
            out[:, left // FACTOR : (left + part.shape[1]) // FACTOR] = part[0, 0]
            continue
        total = part[0::4].astype(np.uint16)
        for step in (1, 2, 3):
            total += part[step::4]
        across = total[:, 0::4] + total[:, 1::4]
        across += total[:, 2::4]
        across += total[:, 3::4]
        across += 8
        across >>= 4
        out[:, left // FACTOR : left // FACTOR + across.shape[1]] = across
    return out


def _write_thumbnail(
    tiff: tifffile.TiffWriter,
    lowest: "_Rows",
    sizes: list[tuple[int, int]],
    mpp_um: float,
    quality: int,
) -> None:
    """Write the lowest level in strips as the second image, where Aperio has its thumbnail.

    TiffSlide takes the second image for the thumbnail whatever it is, OpenSlide an untiled one.
    """
    size = sizes[-1]
    tiff.write(
        np.concatenate(list(lowest.strips())),
        rowsperstrip=16,
        description=f"{_PRODUCT} \r\n{sizes[0][0]}x{sizes[0][1]} -> {size[0]}x{size[1]} - ",
        **_tags(mpp_um * FACTOR ** (len(sizes) - 1), quality),
    )


def _tags(mpp_um: float, quality: int) -> dict[str, Any]:
    """Keywords of `TiffWriter.write` that every image of the file shares."""
    per_cm = 1e4 / mpp_um
    return {
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": quality, "outcolorspace": "ycbcr"},
        "subsampling": (1, 1),
        "subfiletype": 0,
        "resolution": (per_cm, per_cm),
        "resolutionunit": "CENTIMETER",
        "software": False,
        "metadata": None,
    }


def _one_colour(part: U8) -> bool:
    """Whether every pixel equals its left neighbour, and the first column the first pixel."""
    flat = part.reshape(part.shape[0], -1)
    if not (flat[0, 3:] == flat[0, :-3]).all():
        return False
    return bool((flat[:, 3:] == flat[:, :-3]).all() and (flat[:, :3] == flat[0, :3]).all())


class _Rows:
    """Raw rows of one level in a temporary file: appended from above, then read."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        self._stream: BinaryIO = path.open("w+b")
        self._shape = (width, height)

    def append(self, rows: U8) -> None:
        self._stream.write(rows.tobytes())

    def strips(self) -> Iterator[U8]:
        width, height = self._shape
        self._stream.seek(0)
        for top in range(0, height, STRIP_PX):
            count = min(STRIP_PX, height - top)
            raw = self._stream.read(count * width * 3)
            yield np.frombuffer(raw, np.uint8).reshape(count, width, 3)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


class _TileEncoder:
    """JPEG tiles of a strip, left to right, top to bottom; a tile of one colour is coded once."""

    def __init__(self, tile_px: int, quality: int, fill: tuple[int, int, int]) -> None:
        self._tile_px = tile_px
        self._quality = quality
        self._fill = np.asarray(fill, np.uint8)
        self._plain: dict[bytes, bytes] = {}

    def __call__(self, strip: U8) -> Iterator[bytes]:
        side = self._tile_px
        for top in range(0, strip.shape[0], side):
            for left in range(0, strip.shape[1], side):
                yield self._encode(strip[top : top + side, left : left + side])

    def _encode(self, tile: U8) -> bytes:
        side = self._tile_px
        if tile.shape[:2] != (side, side):
            whole = np.empty((side, side, 3), np.uint8)
            whole[:] = self._fill
            whole[: tile.shape[0], : tile.shape[1]] = tile
            tile = whole
        colour = tile[0, 0].tobytes()
        plain = _one_colour(tile)
        if plain and colour in self._plain:
            return self._plain[colour]
        coded = imagecodecs.jpeg8_encode(
            np.ascontiguousarray(tile),
            level=self._quality,
            colorspace="rgb",
            outcolorspace="ycbcr",
            subsampling="444",
        )
        if plain and len(self._plain) < 1024:
            self._plain[colour] = bytes(coded)
        return bytes(coded)


def _top_rows(read_rows: ReadRows, width: int, height: int, lower: list[_Rows]) -> Iterator[U8]:
    """Strips of level 0; on the way each lower level gets its rows."""
    waiting: list[list[U8]] = [[] for _ in lower]
    for top in range(0, height, STRIP_PX):
        count = min(STRIP_PX, height - top)
        strip = read_rows(top, count)
        if strip.shape != (count, width, 3) or strip.dtype != np.uint8:
            raise ValueError(f"rows {top}: got {strip.dtype} {strip.shape}, not {count} x {width}")
        # Before the strip is given away: nobody asks again after the last one.
        _pass_down(strip, lower, waiting, last=top + count == height)
        yield strip


def _pass_down(rows: U8, lower: list[_Rows], waiting: list[list[U8]], *, last: bool) -> None:
    """Give rows to the first lower level, and so on down, in fours except at the very end."""
    for level, held in zip(lower, waiting, strict=True):
        held.append(rows)
        stack = np.concatenate(held) if len(held) > 1 else held[0]
        ready = len(stack) if last else len(stack) - len(stack) % FACTOR
        held[:] = [stack[ready:]] if ready < len(stack) else []
        if ready == 0:
            return
        rows = quarter(stack[:ready])
        level.append(rows)


def _description(
    top: tuple[int, int], size: tuple[int, int], mpp_um: float, tile_px: int, quality: int
) -> str:
    """Aperio's text: OpenSlide and TiffSlide take mpp and objective from the first level's."""
    whole = f"{top[0]}x{top[1]} [0,0 {top[0]}x{top[1]}] ({tile_px}x{tile_px})"
    if size != top:
        return f"{_PRODUCT} \r\n{whole} -> {size[0]}x{size[1]} JPEG/RGB Q={quality}"
    facts = f"AppMag = {10 / mpp_um:g}|MPP = {mpp_um:.6g}|Left = 0.0|Top = 0.0"
    return f"{_PRODUCT} \r\n{whole} JPEG/RGB Q={quality}|{facts}"


def _check(width: int, height: int, mpp_um: float, tile_px: int, quality: int) -> None:
    if width < 1 or height < 1:
        raise ConfigError(f"slide size {width} x {height} px: give at least 1 x 1")
    if not 0.02 <= mpp_um <= 100:
        raise ConfigError(f"mpp {mpp_um} um/px is outside 0.02-100 um/px")
    if tile_px not in {256, 512}:
        raise ConfigError(f"tile side {tile_px} px: use 256 or 512")
    if not 1 <= quality <= 100:
        raise ConfigError(f"JPEG quality {quality} is outside 1-100")
