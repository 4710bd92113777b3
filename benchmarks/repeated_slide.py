"""A synthetic slide of any size in seconds: encoded tiles of one block, repeated.

Level 0 is put together from JPEG tiles that were encoded once, so 60,000 pixels a side cost no more
than writing the file; readers decode every one of them. The outline of the tissue follows tiles.
The form is Aperio's: BigTIFF, tiles of 256, YCbCr 4:2:0, levels 1, 4 and 16.

    python -m benchmarks.repeated_slide OUT.svs SIDE [--coverage 0.45] [--seed 7]
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.io.synthetic import SyntheticSlide

TILE_PX = 256
BLOCK_TILES = 8
"""Tiles a side of the rendered block."""
SHRINKS = (4, 16)
QUALITY = 85
STRIP_PX = 16
MPP_UM = 0.25
HEADER = "Aperio Image Library v11.2.1 \r\n"

Pixels = NDArray[np.uint8]


def write_repeated_slide(
    path: Path, side_px: int, *, coverage: float = 0.45, seed: int = 7
) -> None:
    """Write the slide, square, with about this share of it tissue."""
    tissue, glass = _block(seed)
    mask = _mask(side_px, coverage, seed)
    encoded = [_encoded(tile) for tile in tissue]
    empty = _encoded(glass)
    size = f"{side_px}x{side_px}"
    facts = f"|AppMag = 40|MPP = {MPP_UM:.4f}|Filename = repeated"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:

        def write(tiles: Iterator[bytes], side: int, description: str) -> None:
            writer.write(
                tiles,
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=HEADER + description,
                metadata=None,
            )

        whole = f"{size} [0,0 {size}] ({TILE_PX}x{TILE_PX}) JPEG/RGB Q={QUALITY}{facts}"
        numbers = _numbers(mask)
        write((encoded[n] if n >= 0 else empty for n in numbers.flat), side_px, whole)
        small = _shrunk(np.stack([*tissue, glass]), SHRINKS[-1])
        thumbnail = _joined(numbers, small)[: side_px // 16, : side_px // 16]
        thumbnail = thumbnail[:: max(1, len(thumbnail) // 768), :: max(1, len(thumbnail) // 768)]
        # before the levels, as Aperio writes it; in strips, which is how it is told from one
        thumbnail = thumbnail[: len(thumbnail) // STRIP_PX * STRIP_PX]
        writer.write(
            (
                _encoded(thumbnail[top : top + STRIP_PX])
                for top in range(0, len(thumbnail), STRIP_PX)
            ),
            shape=thumbnail.shape,
            dtype=np.uint8,
            photometric="ycbcr",
            subsampling=(2, 2),
            compression="jpeg",
            rowsperstrip=STRIP_PX,
            description=f"{HEADER}{size} -> thumbnail - {facts}",
            metadata=None,
        )
        for shrink in SHRINKS:
            side = -(-side_px // shrink)
            text = f"{size} [0,0 {size}] ({TILE_PX}x{TILE_PX}) -> {side}x{side} JPEG/RGB"
            write(_coarse_tiles(numbers, np.stack([*tissue, glass]), shrink, side), side, text)


def _block(seed: int) -> tuple[list[Pixels], Pixels]:
    """Tiles of the rendered block in reading order, and one of empty glass."""
    side = TILE_PX * BLOCK_TILES
    slide = SyntheticSlide(1_000_000 + seed, 5 * side, 5 * side, coverage=0.8, pieces=1)
    block = slide.pixels(2 * side, 2 * side, side, side)
    rows = block.reshape(BLOCK_TILES, TILE_PX, BLOCK_TILES, TILE_PX, 3).transpose(0, 2, 1, 3, 4)
    noise = np.random.default_rng(seed).normal(0, 1.0, (TILE_PX, TILE_PX, 3))
    glass = np.clip(np.array(slide.glass) + noise, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(tile) for tile in rows.reshape(-1, TILE_PX, TILE_PX, 3)], glass


def _mask(side_px: int, coverage: float, seed: int) -> NDArray[np.bool_]:
    """Which tiles hold tissue: a few smooth pieces, none at the slide's border."""
    count = -(-side_px // TILE_PX)
    rng = np.random.default_rng(seed)
    # on a fixed grid, so that slides of all sizes have the same pieces
    nodes = gaussian_filter(rng.standard_normal((96, 96)), 9.0)
    nodes /= nodes.std()
    edge = np.minimum(np.arange(96), np.arange(96)[::-1]) / 11.0
    nodes -= 3.0 * np.clip(1 - np.minimum.outer(edge, edge), 0, 1)
    place = (np.arange(count) * 96 // count).clip(0, 95)
    tiles = nodes[np.ix_(place, place)]
    return np.asarray(tiles > np.quantile(tiles, 1 - coverage))


def _numbers(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which tile of the block stands where; -1 is glass."""
    row, col = np.indices(mask.shape)
    number = (row % BLOCK_TILES) * BLOCK_TILES + col % BLOCK_TILES
    return np.where(mask, number, -1)


def _coarse_tiles(
    numbers: NDArray[np.int64], tiles: Pixels, shrink: int, side: int
) -> Iterator[bytes]:
    small, count = _shrunk(tiles, shrink), -(-side // TILE_PX)
    known: dict[bytes, bytes] = {}
    for row in range(count):
        for col in range(count):
            rows = slice(row * shrink, (row + 1) * shrink)
            part = numbers[rows, col * shrink : (col + 1) * shrink]
            pad = ((0, shrink - part.shape[0]), (0, shrink - part.shape[1]))
            part = np.pad(part, pad, constant_values=-1)
            key = part.tobytes()
            if key not in known:
                known[key] = _encoded(_joined(part, small))
            yield known[key]


def _shrunk(tiles: Pixels, shrink: int) -> Pixels:
    side = TILE_PX // shrink
    parts = tiles.reshape(len(tiles), side, shrink, side, shrink, 3)
    return np.rint(parts.mean(axis=(2, 4))).astype(np.uint8)


def _joined(numbers: NDArray[np.int64], small: Pixels) -> Pixels:
    """Put shrunk tiles side by side."""
    rows, cols = numbers.shape
    side = small.shape[1]
    placed = small[numbers].transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(placed.reshape(rows * side, cols * side, 3))


def _encoded(tile: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return stream.getvalue()


def main() -> None:
    """Write one slide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("side", type=int)
    parser.add_argument("--coverage", type=float, default=0.45)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    write_repeated_slide(asked.out, asked.side, coverage=asked.coverage, seed=asked.seed)
    print(f"{asked.out}: {asked.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
