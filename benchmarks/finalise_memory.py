"""Memory per cell when a slide is finalised: planted peaks -> merge_ties -> CellPoints, sorted."""

import argparse
import resource
import time
import tracemalloc
from pathlib import Path

from planted import PIXELS_PER_CELL, planted_peaks

from pipeline.core.ccls import Peaks, merge_ties
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints

LIMIT_BYTES = 200
"""What a run may use per cell."""


def finalise(peaks: Peaks, frame: PlaneFrame) -> CellPoints:
    """What the last task of a slide does with its peaks."""
    merged = merge_ties(peaks)
    x_l0, y_l0 = frame.to_l0(merged.x_px, merged.y_px)
    return CellPoints(x_l0, y_l0, merged.score, merged.label).sorted()


def resident_bytes() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def highest_resident_bytes() -> int:
    """Highest resident memory of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=5_000_000)
    cells = parser.parse_args().cells
    side_px = int((cells * PIXELS_PER_CELL) ** 0.5)
    frame = PlaneFrame(0, 0, 1.25, 1.25, side_px, side_px)
    finalise(planted_peaks(1000), frame)  # libraries load before the first reading
    peaks = planted_peaks(cells)
    before, start = resident_bytes(), time.perf_counter()
    points = finalise(peaks, frame)
    seconds, grown = time.perf_counter() - start, highest_resident_bytes() - before
    del points
    tracemalloc.start()
    points = finalise(peaks, frame)
    _, traced = tracemalloc.get_traced_memory()
    held = sum(column.nbytes for column in (points.x_l0, points.y_l0, points.score, points.label))
    columns = (peaks.x_px, peaks.y_px, peaks.col, peaks.row, peaks.score, peaks.label)
    given = sum(column.nbytes for column in columns)
    print(f"peaks in                                        {len(peaks):>12,}")
    print(f"cells out                                       {len(points):>12,}")
    print(f"seconds                                         {seconds:>12.1f}")
    print(f"bytes per cell, peaks given                     {given / len(points):>12.1f}")
    print(f"bytes per cell, points held                     {held / len(points):>12.1f}")
    print(f"bytes per cell, highest above peaks (arrays)    {traced / len(points):>12.1f}")
    print(f"bytes per cell, highest above peaks (resident)  {grown / len(points):>12.1f}")
    highest = (given + max(traced, grown)) / len(points)
    print(f"bytes per cell, highest with the peaks          {highest:>12.1f}")
    print(f"limit                                           {LIMIT_BYTES:>12}")


if __name__ == "__main__":
    main()
