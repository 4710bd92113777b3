"""How many pixels the network is given for a slide, by tile size and halo.

    python -m benchmarks.pixels_predicted SLIDE [--tile PX,HALO ...]

Only the plan is made. Redundant is what halos add to the parts that are predicted; a call of the
network counts with the pixels it is reckoned to cost.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.one_job import job_of
from pipeline.config import load_config
from pipeline.core.coverage import squares_of_tile, tiles_with_squares
from pipeline.core.parts import CALL_PX, cheapest_parts
from pipeline.run.plan import Plan, Tissue, read_plan, read_tissue, work_folder
from pipeline.run.prepare import prepare_slide

TILES = ("1024,128", "1536,128", "1536,96", "1536,64")


def planned(slide: str, core_px: int, halo_px: int, out: Path) -> tuple[Plan, Tissue]:
    """Plan a slide with the model that ships."""
    config = load_config(
        None, [f"prediction.tile_core_px={core_px}", f"prediction.halo_px={halo_px}"]
    )
    job = job_of(slide, config, out)
    prepare_slide(job)
    work = work_folder(job.folder)
    return read_plan(work), read_tissue(work)


def predicted(plan: Plan, tissue: Tissue) -> tuple[int, int, int]:
    """Pixels of all parts with their halos, pixels without them, and calls."""
    lattice, given, own, calls = plan.grid.lattice, 0, 0, 0
    covered = tiles_with_squares(tissue.squares, lattice)
    for row, col in zip(*covered.nonzero(), strict=True):
        squares = squares_of_tile(tissue.squares, lattice, lattice.tile(int(row), int(col)))
        parts = cheapest_parts(squares, square_px=plan.square_px, halo_px=plan.halo_px)
        around = [part.grown(plan.halo_px) for part in parts]
        given += sum(box.width * box.height for box in around)
        own += sum(part.width * part.height for part in parts)
        calls += len(parts)
    return given, own, calls


def main() -> None:
    """Print one row for each tile size and halo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide")
    parser.add_argument("--tile", action="append", metavar="PX,HALO")
    args = parser.parse_args()
    print("tile  halo  tissue  in squares  predicted  redundant  calls  reckoned (Mpx)")
    for tile in args.tile or TILES:
        core_px, halo_px = (int(side) for side in tile.split(","))
        with tempfile.TemporaryDirectory() as folder:
            plan, tissue = planned(args.slide, core_px, halo_px, Path(folder))
        given, own, calls = predicted(plan, tissue)
        mask = plan.tissue_mm2 / plan.mpp_um**2
        squares = plan.squares * plan.square_px**2 / 1e6
        print(
            f"{core_px:4} {halo_px:5} {mask:7.1f} {squares:11.1f} {given / 1e6:10.1f} "
            f"{100 * (given / own - 1):8.0f} % {calls:6} {(given + calls * CALL_PX) / 1e6:9.1f}"
        )


if __name__ == "__main__":
    main()
