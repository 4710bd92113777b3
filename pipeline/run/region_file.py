"""The file of one region: peaks, border strips, quality, what is unreadable; its done mark.

A checksum of all that follows, then arrays in numpy's own form, one after another. A slide has
thousands of such files, and each is read three times: a zip archive of the same arrays took twice
as long to write and to read.
"""

import io
import math
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks
from pipeline.core.seams import BorderStrips, StripsOf
from pipeline.io.files import atomic_path
from pipeline.run.plan import Plan, StaleWorkError, region_path

_PEAK = np.dtype(
    [("x_px", "f8"), ("y_px", "f8"), ("col", "i4"), ("row", "i4"), ("score", "f4"), ("label", "u1")]
)
_CHECK_BYTES = 4
_NPY_START = struct.Struct("<8sH")
"""Magic and version, then the length of the rest of the header."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionResult:
    """What a region leaves behind."""

    peaks: Peaks
    undecided: Peaks
    """So near a border that a neighbour may outrank them; see ``core.seams``."""
    strips: BorderStrips
    unreadable: NDArray[np.int32]
    """``(N, 2)`` row and column of squares whose pixels could not be read."""
    measures: NDArray[np.float32]
    """``(measures, bins, bins)`` of the whole region, NaN where nothing was measured."""


def write_region(path: Path, result: RegionResult, match: str) -> None:
    """Write the file in one step."""
    members = (
        np.array(match),
        result.strips.rows,
        result.strips.cols,
        result.unreadable,
        result.measures,
        _packed(result.peaks),
        _packed(result.undecided),
    )
    body = io.BytesIO()
    for member in members:
        np.save(body, np.asarray(member, order="C"), allow_pickle=False)
    # not synced: what a power failure leaves of it is told by its checksum, and predicted again
    with atomic_path(path, sync=False) as partial, partial.open("wb") as stream:
        stream.write(_checksum(body.getbuffer()))
        stream.write(body.getbuffer())


def holds(path: Path, match: str) -> bool:
    """Whether the file is there, whole, and of the same key and region size."""
    try:
        return str(_loaded(io.BytesIO(_checked(path)))) == match
    except (OSError, ValueError, EOFError):
        return False


@dataclass(frozen=True, slots=True, eq=False)
class StoredRegion:
    """What a region left behind, but its strips."""

    index: int
    peaks: Peaks
    undecided: Peaks
    unreadable: NDArray[np.int32]
    measures: NDArray[np.float32]


def read_regions(work: Path, plan: Plan) -> list[StoredRegion]:
    """Read the files of all regions of a plan, every byte of them checked.

    Raises
    ------
    StaleWorkError
        One is missing, damaged or of another plan.
    """
    return [_read(work, plan, index) for index in plan.regions]


def _read(work: Path, plan: Plan, index: int) -> StoredRegion:
    path = region_path(work, index)
    try:
        stream = io.BytesIO(_checked(path))
        if str(_loaded(stream)) != plan.match:
            raise _stale(work, index)
        _pass_over(stream)
        _pass_over(stream)
        unreadable, measures, peaks, undecided = (_loaded(stream) for _ in range(4))
    except (OSError, ValueError, EOFError) as error:
        raise _stale(work, index) from error
    return StoredRegion(index, _unpacked(peaks), _unpacked(undecided), unreadable, measures)


@dataclass(frozen=True, slots=True)
class _StoredStrips:
    """Strips that are read as they are asked for, of a file that was found whole."""

    work: Path
    index: int

    @property
    def rows(self) -> NDArray[np.float32]:
        return self._member(1)

    @property
    def cols(self) -> NDArray[np.float32]:
        return self._member(2)

    def _member(self, number: int) -> NDArray[np.float32]:
        try:
            with region_path(self.work, self.index).open("rb") as stream:
                stream.seek(_CHECK_BYTES)
                for _ in range(number):
                    _pass_over(stream)
                return _loaded(stream)
        except (OSError, ValueError, EOFError) as error:
            raise _stale(self.work, self.index) from error


def strips_reader(work: Path, plan: Plan) -> StripsOf:
    """Return what ``core.seams.settle_seams`` asks for strips, once ``read_regions`` has run.

    Raises
    ------
    StaleWorkError
        When strips are asked for whose file is missing.
    """
    cols, active = plan.grid.cols, frozenset(plan.regions)

    def strips_of(row: int, col: int) -> _StoredStrips | None:
        index = row * cols + col
        return _StoredStrips(work, index) if index in active else None

    return strips_of


def _packed(peaks: Peaks) -> NDArray[np.void]:
    packed = np.empty(len(peaks), _PEAK)
    for name in _PEAK.names or ():
        packed[name] = getattr(peaks, name)
    return packed


def _unpacked(packed: NDArray[np.void]) -> Peaks:
    return Peaks(*(np.ascontiguousarray(packed[name]) for name in _PEAK.names or ()))


def _stale(work: Path, index: int) -> StaleWorkError:
    # whatever lies there is of no use; without it the next plan sends the region again
    region_path(work, index).unlink(missing_ok=True)
    return StaleWorkError(f"{work.parent.name}: region {index} is missing; run again")


def _checksum(body: bytes | memoryview) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECK_BYTES, "little")


def _checked(path: Path) -> bytes:
    """What follows the checksum; ValueError where it does not hold."""
    content = path.read_bytes()
    body = content[_CHECK_BYTES:]
    if content[:_CHECK_BYTES] != _checksum(body):
        raise ValueError("damaged")
    return body


def _loaded(stream: IO[bytes]) -> NDArray[Any]:
    shape, dtype = _header(stream)
    number = math.prod(shape)
    content = bytearray(stream.read(number * dtype.itemsize))
    # of fewer bytes than the header says no such array can be made: a ValueError
    return np.frombuffer(content, dtype, number).reshape(shape)


def _pass_over(stream: IO[bytes]) -> None:
    """Leave out the next array."""
    shape, dtype = _header(stream)
    stream.seek(math.prod(shape) * dtype.itemsize, io.SEEK_CUR)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    start = stream.read(_NPY_START.size)
    if len(start) < _NPY_START.size:
        raise EOFError
    return _parsed(start + stream.read(_NPY_START.unpack(start)[1]))


@lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type; numpy parses each header as Python, and most regions have the same few."""
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("no array as it was written")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if by_columns:
        raise ValueError("no array as it was written")
    return shape, dtype
