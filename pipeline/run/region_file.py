"""The file of one region: peaks, border strips, quality, what is unreadable; its done mark."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks
from pipeline.core.seams import BorderStrips, StripsOf
from pipeline.io.files import atomic_path
from pipeline.run.plan import Plan, StaleWorkError, region_path

_PEAK = np.dtype(
    [("x_px", "f8"), ("y_px", "f8"), ("col", "i4"), ("row", "i4"), ("score", "f4"), ("label", "u1")]
)
# members are few: each costs a tenth of a millisecond to write and to read
_MATCH, _UNREADABLE, _MEASURES, _PEAKS = "plan", "unreadable", "measures", "peaks"
_ROWS, _COLS = "border_rows", "border_cols"


@dataclass(frozen=True, slots=True, eq=False)
class RegionResult:
    """What a region leaves behind."""

    peaks: Peaks
    strips: BorderStrips
    unreadable: NDArray[np.int32]
    """``(N, 2)`` row and column of squares whose pixels could not be read."""
    measures: NDArray[np.float32]
    """``(measures, bins, bins)`` of the whole region, NaN where nothing was measured."""


def write_region(path: Path, result: RegionResult, match: str) -> None:
    """Write the file in one step."""
    peaks = np.empty(len(result.peaks), _PEAK)
    for name in _PEAK.names or ():
        peaks[name] = getattr(result.peaks, name)
    members: dict[str, NDArray[Any]] = {
        _MATCH: np.array(match),
        _UNREADABLE: result.unreadable,
        _MEASURES: result.measures,
        _PEAKS: peaks,
        _ROWS: result.strips.rows,
        _COLS: result.strips.cols,
    }
    with atomic_path(path) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **members)


def holds(path: Path, match: str) -> bool:
    """Whether the file is there, whole, and of the same key and region size."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return str(stored[_MATCH]) == match
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False


def read_peaks(work: Path, plan: Plan, index: int) -> tuple[Peaks, NDArray[np.int32]]:
    """Return the settled peaks and the unreadable squares of one region.

    Raises
    ------
    StaleWorkError
        The file is missing, damaged or of another plan.
    """
    peaks, unreadable = _read(work, plan, index, (_PEAKS, _UNREADABLE))
    columns = (np.ascontiguousarray(peaks[name]) for name in _PEAK.names or ())
    return Peaks(*columns), unreadable


def read_measures(work: Path, plan: Plan, index: int) -> NDArray[np.float32]:
    """Return the measures of one region, NaN where nothing was measured.

    Raises
    ------
    StaleWorkError
        The file is missing, damaged or of another plan.
    """
    (measures,) = _read(work, plan, index, (_MEASURES,))
    return measures


@dataclass(frozen=True, slots=True)
class _StoredStrips:
    """Strips that are read as they are asked for."""

    work: Path
    plan: Plan
    index: int

    @property
    def rows(self) -> NDArray[np.float32]:
        return self._member(_ROWS)

    @property
    def cols(self) -> NDArray[np.float32]:
        return self._member(_COLS)

    def _member(self, name: str) -> NDArray[np.float32]:
        (strips,) = _read(self.work, self.plan, self.index, (name,))
        return strips


def strips_reader(work: Path, plan: Plan) -> StripsOf:
    """Return what ``core.seams.settle_seams`` asks for strips.

    Raises
    ------
    StaleWorkError
        When strips are asked for whose file is missing, damaged or of another plan.
    """
    cols, active = plan.grid.cols, frozenset(plan.regions)

    def strips_of(row: int, col: int) -> _StoredStrips | None:
        index = row * cols + col
        return _StoredStrips(work, plan, index) if index in active else None

    return strips_of


def _read(work: Path, plan: Plan, index: int, names: tuple[str, ...]) -> list[NDArray[Any]]:
    path = region_path(work, index)
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored[_MATCH]) == plan.match:
                return [stored[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    # whatever lies there is of no use; without it the next plan sends the region again
    path.unlink(missing_ok=True)
    raise StaleWorkError(f"{work.parent.name}: region {index} is missing; run again")
