"""Chunks of one level of a heatmap: coded by zarr's own library, without zarr's event loop.

Zarr hands every chunk to a coroutine and a thread, which takes three times as long as coding it.
The files are those that zarr writes, byte by byte.
"""

import os
import secrets
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from pipeline.io.files import PARTIAL_SUFFIX

BLOSC_LEVEL = 1
"""Of zstd: bits shuffled, the higher levels take twice the time for no fewer bytes."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ChunkedLevel:
    """One level, uint8; a chunk that has no file is 0.

    Attributes
    ----------
    folder
        Holds ``channel/row/column``.
    shape
        (channels, height, width).
    side
        Of the square chunks, one channel each.
    """

    folder: Path
    shape: tuple[int, int, int]
    side: int

    def write(self, top: int, left: int, pixels: Pixels, *, sync: bool) -> None:
        """Write pixels whose corner is a chunk's and that end with chunks or the level.

        Parameters
        ----------
        top, left
            Multiples of the chunk's side.
        pixels
            ``(channels, height, width)``.
        sync
            Wait until they are on the disk.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        for channel, plane in enumerate(pixels):
            for y in range(0, plane.shape[0], self.side):
                for x in range(0, plane.shape[1], self.side):
                    part = plane[y : y + self.side, x : x + self.side]
                    self._write_chunk(self._file(channel, top + y, left + x), part, sync=sync)

    def read(self, top: int, left: int, side: int) -> Pixels:
        """Read a square of every channel, from a chunk's corner on; less at the level's border.

        Raises
        ------
        OSError, RuntimeError
            A file cannot be read or decoded.
        """
        channels, height, width = self.shape
        made = np.zeros((channels, min(side, height - top), min(side, width - left)), np.uint8)
        corners = (range(channels), *(range(0, length, self.side) for length in made.shape[1:]))
        for channel, y, x in product(*corners):
            try:
                coded = self._file(channel, top + y, left + x).read_bytes()
            except FileNotFoundError:
                continue
            place = made[channel, y : y + self.side, x : x + self.side]
            chunk = np.frombuffer(_codec().decode(coded), np.uint8).reshape(self.side, self.side)
            place[:] = chunk[: place.shape[0], : place.shape[1]]
        return made

    def _file(self, channel: int, y: int, x: int) -> Path:
        return self.folder / str(channel) / str(y // self.side) / str(x // self.side)

    def _write_chunk(self, path: Path, part: Pixels, *, sync: bool) -> None:
        if not part.any():
            path.unlink(missing_ok=True)
            return
        whole = part
        if part.shape != (self.side, self.side):  # at the level's border: chunks are whole
            whole = np.zeros((self.side, self.side), np.uint8)
            whole[: part.shape[0], : part.shape[1]] = part
        coded = _codec().encode(np.ascontiguousarray(whole))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
        try:
            with partial.open("wb") as stream:
                stream.write(coded)
                if sync:
                    stream.flush()
                    os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _codec() -> Blosc:
    return Blosc(cname="zstd", clevel=BLOSC_LEVEL, shuffle=Blosc.BITSHUFFLE, typesize=1)
