"""TIFFs that claim what they do not hold, written byte by byte."""

import struct
import zlib
from pathlib import Path

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
SAMPLES, X_RESOLUTION, Y_RESOLUTION, PLANAR, UNIT = 277, 282, 283, 284, 296
TILE_WIDTH, TILE_HEIGHT, OFFSETS, COUNTS = 322, 323, 324, 325
DEFLATE, JPEG = 8, 7
QUARTER_UM = (40_000, 1)
"""Pixels per centimetre: 0.25 um a pixel."""


def write_claim(
    path: Path,
    *,
    width: int,
    height: int,
    tile_px: int = 256,
    pages: int = 1,
    compression: int = 1,
    payload: bytes = b"",
    description: bytes = b"",
) -> Path:
    """Write a BigTIFF whose every tile is ``payload``; without one no tile is stored (sparse)."""
    tiles = (-(-width // tile_px)) * (-(-height // tile_px))
    body = bytearray(16)
    ends: list[int] = []

    def put(blob: bytes) -> int:
        body.extend(b"\0" * (-len(body) % 8))
        body.extend(blob)
        return len(body) - len(blob)

    kept = put(payload)
    listed = min(tiles, 1 << 20)  # a claim may be larger than its own table
    offsets = put(struct.pack("<Q", kept if payload else 0) * listed)
    counts = put(struct.pack("<Q", len(payload)) * listed)
    text = put(description + b"\0")
    first = 0
    for _ in range(pages):
        entries = [
            _long(WIDTH, width),
            _long(HEIGHT, height),
            struct.pack("<HHQ4H", BITS, 3, 3, 8, 8, 8, 0),
            _long(COMPRESSION, compression),
            _long(PHOTOMETRIC, 6 if compression == JPEG else 2),
            struct.pack("<HHQQ", DESCRIPTION, 2, len(description) + 1, text),
            _long(SAMPLES, 3),
            struct.pack("<HHQ2I", X_RESOLUTION, 5, 1, *QUARTER_UM),
            struct.pack("<HHQ2I", Y_RESOLUTION, 5, 1, *QUARTER_UM),
            _long(PLANAR, 1),
            _long(UNIT, 3),
            _long(TILE_WIDTH, tile_px),
            _long(TILE_HEIGHT, tile_px),
            _table(OFFSETS, listed, offsets, kept if payload else 0),
            _table(COUNTS, listed, counts, len(payload)),
        ]
        directory = put(struct.pack("<Q", len(entries)) + b"".join(entries) + b"\0" * 8)
        first = first or directory
        if ends:
            struct.pack_into("<Q", body, ends[-1], directory)
        ends.append(len(body) - 8)
    struct.pack_into("<2sHHHQ", body, 0, b"II", 43, 8, 0, first)
    path.write_bytes(body)
    return path


def deflate_bomb(unpacked_bytes: int) -> bytes:
    """Zeros, packed a thousandfold."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(unpacked_bytes >> 20)) + packer.flush()


def _long(code: int, value: int) -> bytes:
    return struct.pack("<HHQII", code, 4, 1, value, 0)


def _table(code: int, count: int, place: int, only: int) -> bytes:
    return struct.pack("<HHQQ", code, 16, count, only if count == 1 else place)
