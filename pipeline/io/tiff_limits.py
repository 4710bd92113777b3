"""What a TIFF's directories declare, looked at before any library believes them.

A few bytes can claim tiles of gigabytes or thousands of directories; libraries allocate what is
claimed, and one of them then ends the process. The directories are read here with bounded work.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.io.reading import unreadable

MOST_DIRECTORIES = 2000
"""Scanners write a dozen; focal planes and labels make some hundred."""
MOST_TAGS = 4096
MOST_TILE_PX = 1 << 26
"""Of one tile: 8192 x 8192, some 270 MB when decoded."""
MOST_SIDE_PX = 4_000_000
"""Of a level: 8 cm of glass are 1,000,000 px at the finest resolution that is accepted."""

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _SUB = 256, 257, 322, 323, 330
_NUMBERS = {3: ("H", 2), 4: ("I", 4), 13: ("I", 4), 16: ("Q", 8), 18: ("Q", 8)}
"""Unsigned types by their code in the file: format and size."""
_CLASSIC_BYTES = 1 << 32
"""Larger files of the classic kind stretch its offsets (NDPI), each vendor in its own way."""


def refuse_absurd(path: Path) -> None:
    """Refuse a TIFF that declares what no slide has; other files pass, damaged ones too.

    Raises
    ------
    UnreadableSlideError
        More directories, larger levels or larger tiles than any slide has.
    """
    beyond = path.stat().st_size > _CLASSIC_BYTES
    with path.open("rb") as file:
        for number, tags in enumerate(_directories(file, beyond_classic=beyond)):
            if number >= MOST_DIRECTORIES:
                raise unreadable(
                    path, f"more than {MOST_DIRECTORIES} directories; a slide has some dozen"
                )
            width, height = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
            tile = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
            if max(width, height) > MOST_SIDE_PX:
                raise unreadable(
                    path,
                    f"declares a level of {width} x {height} px, more than {MOST_SIDE_PX} a side; "
                    "export the slide again",
                )
            if tile[0] * tile[1] > MOST_TILE_PX:
                raise unreadable(
                    path,
                    f"declares tiles of {tile[0]} x {tile[1]} px, more than {MOST_TILE_PX} px; "
                    "convert it with tiles of 256 or 512",
                )


def _directories(file: BinaryIO, *, beyond_classic: bool) -> Iterator[dict[int, int]]:
    """Yield the first value of the numeric tags of each directory that can be read."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return
    (magic,) = struct.unpack_from(f"{order}H", head, 2)
    big = magic == 43
    if magic not in (42, 43) or (big and len(head) < 16) or (beyond_classic and not big):
        return
    (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)
    pending, seen = [int(offset)], set[int]()
    while pending and len(seen) <= MOST_DIRECTORIES:
        at = pending.pop()
        if at == 0 or at in seen:
            continue
        seen.add(at)
        tags, following = _directory(file, order, big=big, at=at)
        pending.extend(following)
        yield tags


def _directory(
    file: BinaryIO, order: str, *, big: bool, at: int
) -> tuple[dict[int, int], list[int]]:
    """Tags of one directory, and where the next ones are; nothing where it is cut off."""
    count_format, entry_size, link = ("Q", 20, "Q") if big else ("H", 12, "I")
    count_size, link_size = struct.calcsize(count_format), 8 if big else 4
    try:
        file.seek(at)
        (count,) = struct.unpack(f"{order}{count_format}", file.read(count_size))
        if count > MOST_TAGS:
            return {}, []
        block = file.read(count * entry_size + link_size)
        (after,) = struct.unpack_from(f"{order}{link}", block, count * entry_size)
    except (struct.error, OSError, OverflowError, ValueError):
        return {}, []
    tags, subs = dict[int, int](), list[int]()
    for start in range(0, count * entry_size, entry_size):
        code, kind = struct.unpack_from(f"{order}HH", block, start)
        if kind not in _NUMBERS:
            continue
        form, size = _NUMBERS[kind]
        (held,) = struct.unpack_from(f"{order}{link}", block, start + 4)
        place = start + 4 + link_size
        if held * size <= link_size:
            values = struct.unpack_from(f"{order}{held}{form}", block, place)
            tags[code] = int(values[0]) if values else 0
        else:
            values = ()
        if code == _SUB:
            subs = [int(v) for v in values] or _listed(file, order, block, place, link, held, form)
    return tags, [*subs, int(after)]


def _listed(
    file: BinaryIO, order: str, block: bytes, place: int, link: str, held: int, form: str
) -> list[int]:
    """Offsets of sub-directories that stand elsewhere in the file."""
    held = min(held, MOST_DIRECTORIES + 1)
    (where,) = struct.unpack_from(f"{order}{link}", block, place)
    try:
        file.seek(where)
        found = file.read(held * struct.calcsize(form))
        return [int(v) for v in struct.unpack(f"{order}{held}{form}", found)]
    except (struct.error, OSError, OverflowError, ValueError):
        return []
