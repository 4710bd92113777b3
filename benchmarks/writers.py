"""Time and memory of writing a slide's cells: GeoParquet, tables and GeoJSON."""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.core.points import CellPoints
from pipeline.io.cells import write_cells
from pipeline.io.cells_text import write_cells_csv, write_cells_geojson, write_cells_table

SIDE_L0 = 90_000.0


def random_cells(count: int) -> CellPoints:
    """Cells anywhere on a large slide, the same every time."""
    rng = np.random.default_rng(0)
    return CellPoints(
        rng.uniform(0, SIDE_L0, count),
        rng.uniform(0, SIDE_L0, count),
        rng.random(count, np.float32),
        (rng.random(count) < 0.3).astype(np.uint8),
    )


def highest_mb() -> float:
    """Highest resident memory of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def writers(folder: Path, points: CellPoints) -> dict[str, Callable[[], object]]:
    """Each writer by what it writes."""
    corner = {"offset_x_l0": 0.0, "offset_y_l0": 0.0}
    geojson = partial(write_cells_geojson, folder, points, radius_px=12.0, **corner)
    return {
        "cells.parquet": partial(write_cells, folder / "cells.parquet", points, {}),
        "cells.csv.gz (QuPath)": partial(
            write_cells_csv, folder / "cells.csv.gz", points, **corner
        ),
        "cells.geojson.gz": geojson,
        "  not in the sum: as points": partial(geojson, shape="point", stem="points"),
        "  not in the sum: um table": partial(
            write_cells_table, folder / "table.csv.gz", points, mpp=(0.25, 0.25)
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    points = random_cells(parser.parse_args().cells)
    total = [0.0, 0.0, 0.0]
    print(f"{len(points):,} cells                  seconds  CPU seconds  memory grown, MB")
    with tempfile.TemporaryDirectory() as name:
        for write in writers(Path(name), random_cells(1000)).values():
            write()  # libraries load before the first reading
        for what, write in writers(Path(name), points).items():
            before, wall, cpu = highest_mb(), time.perf_counter(), time.process_time()
            write()
            grown = highest_mb() - before
            spent = [time.perf_counter() - wall, time.process_time() - cpu, grown]
            print(f"{what:<30}{spent[0]:>9.1f}{spent[1]:>13.1f}{spent[2]:>18.0f}")
            if not what.startswith(" "):
                total = [a + b for a, b in zip(total, spent, strict=True)]
    print(f"{'the first three':<30}{total[0]:>9.1f}{total[1]:>13.1f}{total[2]:>18.0f}")


if __name__ == "__main__":
    main()
