"""Time and memory of one slide's scoring, from peaks to files: 5 million cells by default.

python benchmarks/score_slide.py --cells 5000000
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.config import load_config
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.core.qc.bins import MEASURES, BinLayout
from pipeline.core.qc.judge import MeasuredSlide
from pipeline.core.qc.look import OverviewQuality
from pipeline.core.tiling import square_side
from pipeline.model.card import load_card
from pipeline.model.zoo import resolve_model
from pipeline.run.basis import SlideBasis
from pipeline.run.job import SlideJob
from pipeline.run.outputs import score_basis
from pipeline.run.plan import Plan, SlideFacts, Tissue
from pipeline.run.scoring import ScoredWith
from pipeline.run.settle import SettledSlide

SIDE_L0 = 100_000
MPP_UM = 0.25
TISSUE_UM = 8.0
CORE_PX = 1024


def made_basis(count: int) -> SlideBasis:
    """A square slide of ``count`` cells and a fifth as many candidates, uniform over the tissue."""
    card = load_card(resolve_model("default"))
    mpp = (MPP_UM, MPP_UM)
    frame = PlaneFrame.over(0, 0, SIDE_L0, SIDE_L0, mpp, card.mpp_um)
    over = PlaneFrame.over(0, 0, SIDE_L0, SIDE_L0, mpp, TISSUE_UM)
    mask = np.zeros((over.height, over.width), bool)
    edge = over.width // 10
    mask[edge:-edge, edge:-edge] = True
    random = np.random.default_rng(0)
    total = count + count // 5
    low, high = 0.1 * SIDE_L0, 0.9 * SIDE_L0
    score = np.where(np.arange(total) < count, 0.9, (card.floor + card.threshold) / 2)
    points = CellPoints(
        random.uniform(low, high, total),
        random.uniform(low, high, total),
        score.astype(np.float32),
        (random.random(total) < 0.2).astype(np.uint8),
    ).sorted()
    facts = SlideFacts(
        name="made.svs",
        fingerprint="0" * 64,
        reader="none",
        vendor=None,
        width=SIDE_L0,
        height=SIDE_L0,
        bounds=(0, 0, SIDE_L0, SIDE_L0),
        mpp=mpp,
        mpp_source="made",
        objective=None,
    )
    plan = Plan(
        key={},
        slide=facts,
        frame=frame,
        overview=over,
        picture=over,
        tissue_um_per_px=TISSUE_UM,
        tissue_mm2=float(mask.sum()) * TISSUE_UM**2 / 1e6,
        mpp_um=card.mpp_um,
        core_px=CORE_PX,
        square_px=square_side(CORE_PX, card.mpp_um),
        halo_px=card.halo_px,
        region_tiles=1,
        window=card.peak_rule().window,
        floor=card.floor,
        tiles=1,
        squares=1,
        regions=(),
        started="",
    )
    layout = BinLayout(frame, plan.square_px)
    picture = np.full((over.height, over.width, 3), 230, np.uint8)
    measured = MeasuredSlide(
        values=np.full((len(MEASURES), layout.rows, layout.cols), np.nan, np.float32),
        layout=layout,
        overview=OverviewQuality((245.0, 245.0, 245.0), np.zeros_like(mask), 0.0, 1.0),
        tissue=mask,
        over=over,
        um_per_px=TISSUE_UM,
    )
    tissue = Tissue(mask, mask, np.ones((1, 1), bool), picture)
    return SlideBasis(card, "0" * 64, plan, tissue, SettledSlide(points, ()), measured)


def main() -> None:
    """Print seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=5_000_000)
    cells = parser.parse_args().cells
    basis = made_basis(cells)
    with tempfile.TemporaryDirectory() as folder:
        job = SlideJob("made-0", "", "made.svs", folder, load_config(), "", "0" * 64, "r")
        started, used = time.perf_counter(), time.process_time()
        score, _ = score_basis(job, basis, Path(folder), ScoredWith("", ""))
        seconds, processor = time.perf_counter() - started, time.process_time() - used
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"cells    {score.counts.total}")
    print(f"wall     {seconds:.1f} s")
    print(f"CPU      {processor:.1f} s")
    print(f"peak     {peak_gb:.2f} GB")


if __name__ == "__main__":
    main()
