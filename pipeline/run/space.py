"""Room on the disk: what a slide will need at most, and whether it is there."""

import shutil
from pathlib import Path

from pipeline.core.qc.bins import MEASURES
from pipeline.core.seams import strip_depth
from pipeline.errors import OutputError
from pipeline.io.files import output_errors
from pipeline.run.plan import Plan

RESERVE_BYTES = 16 * 2**20
"""Left alone for the table, the ledger, the report and what else runs on the machine."""

SLIDE_BYTES = 6 * 2**20
"""Of a slide without a cell: pictures, crops, quality, density maps."""

CELL_BYTES = 200
"""Of one cell in all its files together, and of one peak while the slide is worked on."""

CELLS_PER_MM2 = 8000
"""A dense lymphoma; most tissue has half of it."""

_STRIP_BYTES = 4


def slide_bytes(plan: Plan, *, downsample: int) -> int:
    """Bytes that the work and the results of one slide take together at most, by its plan.

    Heatmaps are counted uncompressed, all tissue as dense with cells.

    Parameters
    ----------
    downsample
        Model-frame pixels a side of one heatmap pixel.
    """
    side_px = plan.core_px
    heatmap = plan.tiles * 2 * (side_px // downsample) ** 2 * 4 // 3
    region_px = side_px * plan.region_tiles
    strips = len(plan.regions) * 4 * region_px * strip_depth(plan.window) * _STRIP_BYTES
    bins = (side_px // plan.square_px) ** 2
    measures = len(plan.regions) * plan.region_tiles**2 * bins * len(MEASURES) * 4
    covered_mm2 = plan.squares * (plan.square_px * plan.mpp_um / 1000) ** 2
    # measures are kept twice: by region, then by slide
    return round(
        SLIDE_BYTES + heatmap + strips + 2 * measures + covered_mm2 * CELLS_PER_MM2 * CELL_BYTES
    )


def check_space(out: Path, needed_bytes: int, *, what: str) -> None:
    """Refuse to begin what will not fit.

    Raises
    ------
    OutputError
        There is less room than needed and reserved; the message names the folder and both sizes.
    """
    with output_errors(out):
        free = shutil.disk_usage(out).free
    if free < needed_bytes + RESERVE_BYTES:
        raise OutputError(
            f"{out}: {_size(free)} free ({free:,} bytes), {what} may need "
            f"{_size(needed_bytes + RESERVE_BYTES)}; free space or choose another --out, "
            "then run again"
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
