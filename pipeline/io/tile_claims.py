"""What a compressed tile says of its own size, compared with its page before it is decoded.

A decoder allocates what the tile's header claims: 300 bytes of JPEG ask for 12 GB.
"""

import struct
from typing import Any

_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_tiles_of(page: Any) -> None:
    """Make a TIFF page refuse tiles that claim to be larger than its tiles are.

    Parameters
    ----------
    page
        A tifffile page; decoding one of its tiles raises ValueError from now on where it lies.
    """
    page = page.keyframe
    decode, tile = page.decode, (page.tilewidth, page.tilelength)

    def checked(segment: bytes | None, *arguments: Any, **named: Any) -> Any:
        size = None if segment is None else claimed_size(bytes(segment))
        if size is not None and (size[0] > tile[0] or size[1] > tile[1]):
            raise ValueError(f"a tile of {tile[0]} x {tile[1]} px claims {size[0]} x {size[1]}")
        return decode(segment, *arguments, **named)

    # where tifffile keeps the decoder it made for the page
    page.__dict__["decode"] = checked


def claimed_size(segment: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a JPEG or JPEG 2000 stream; None where there is none."""
    if segment[:2] == b"\xff\xd8":
        return _jpeg_size(segment)
    start = segment[:4096].find(b"\xff\x4f\xff\x51")
    if start < 0 or len(segment) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", segment, start + 8)
    return right - left, bottom - top


def _jpeg_size(segment: bytes) -> tuple[int, int] | None:
    """Walk from marker to marker up to the frame's header."""
    at = 2
    while at + 9 <= len(segment):
        if segment[at] != 0xFF:
            return None
        marker = segment[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">2H", segment, at + 5)
            return width, height
        else:
            at += 2 + int.from_bytes(segment[at + 2 : at + 4], "big")
    return None
