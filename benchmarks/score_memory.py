"""Time and peak memory of hotspots, bootstrap and field mean on millions of cells (Linux)."""

import argparse
import resource
import time

import numpy as np
from point_patterns import uniform_pattern

from pipeline.core.bootstrap import block_bootstrap95
from pipeline.core.hotspots import find_hotspots
from pipeline.core.scoring import unweighted_field_mean


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=5_000_000)
    parser.add_argument("--permutations", type=int, default=99)
    given = parser.parse_args()
    cells = uniform_pattern(np.random.default_rng(0), cells=given.cells, index=0.2)
    columns = cells.x_um, cells.y_um, cells.positive
    print(f"{given.cells:,} cells, {given.permutations} permutations")
    print("| | wall s | CPU s | peak GiB of the process so far |")
    for name, task in (
        ("field mean", lambda: unweighted_field_mean(*columns)),
        ("bootstrap", lambda: block_bootstrap95(*columns)),
        ("hotspots", lambda: find_hotspots(*columns, permutations=given.permutations)),
    ):
        wall, busy = time.perf_counter(), time.process_time()
        task()
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"| {name} | {wall:.1f} | {busy:.1f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
