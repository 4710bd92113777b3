"""Time of what the last task of a slide does with its regions' files: read, seams, ties (a script).

``python benchmarks/settle_seams.py --cells 1000000 --per-mm2 4000``: regions of the default size,
all with one planted map of cells that dense, in a temporary folder; seconds by part.
"""

import argparse
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
from planted import regions_alike

from pipeline.config.settings import RunConfig
from pipeline.core.ccls import Peaks, merge_ties
from pipeline.core.maps import edt_map
from pipeline.core.seams import border_strips, settle_seams
from pipeline.core.tiling import RegionGrid, TileLattice
from pipeline.run.plan import Plan, region_path
from pipeline.run.region_file import RegionResult, read_regions, strips_reader, write_region

MPP_UM = 0.5
WINDOW = 13
FLOOR = 0.1
MAX_DT_PX = 30.0


def main() -> None:
    """Write the files, then measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--per-mm2", type=float, default=4000.0)
    asked = parser.parse_args()
    core = RunConfig().prediction.tile_core_px
    each = round(asked.per_mm2 * (core * MPP_UM / 1000) ** 2)
    side = max(round((asked.cells / each) ** 0.5), 1)
    grid = RegionGrid(TileLattice(side * core, side * core, core, 64), 1)
    regions = tuple(range(len(grid)))
    plan = cast("Plan", SimpleNamespace(grid=grid, regions=regions, match="1f" * 32))
    x_px, y_px = np.random.default_rng(7).uniform(0, core, (2, each))
    one = edt_map(x_px, y_px, (core, core), max_dt_px=MAX_DT_PX)
    heatmap = np.stack([one, one * np.float32(0.5)])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        region_path(work, 0).parent.mkdir(parents=True)
        strips = border_strips(heatmap, window=WINDOW)
        unread, measures = np.empty((0, 2), np.int32), np.zeros((14, 24, 24), np.float32)
        alike = regions_alike(grid, heatmap, window=WINDOW, floor=FLOOR)
        for index, (peaks, undecided) in zip(regions, alike, strict=True):
            result = RegionResult(peaks, undecided, strips, unread, measures)
            write_region(region_path(work, index), result, plan.match)
        start = time.perf_counter()
        stored = read_regions(work, plan)
        read = time.perf_counter()
        undecided = Peaks.concatenate([region.undecided for region in stored])
        seams = settle_seams(grid, undecided, strips_reader(work, plan), window=WINDOW)
        settled = time.perf_counter()
        cells = merge_ties(Peaks.concatenate([*(region.peaks for region in stored), seams]))
        merged = time.perf_counter()
    million = len(cells) / 1e6
    print(f"{len(cells):,} cells, {len(grid)} regions; seconds, and seconds per million cells")
    for name, seconds in (
        ("files read and checked", read - start),
        (f"seams, {len(undecided):,} peaks near them", settled - read),
        ("ties", merged - settled),
    ):
        print(f"{name:40}{seconds:8.2f}{seconds / million:8.2f}")


if __name__ == "__main__":
    main()
