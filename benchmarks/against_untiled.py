"""A whole run against the same network on the whole slide in one piece.

    python -m benchmarks.against_untiled FOLDER [--model default] [--side 6000] [--set KEY=VALUE]

The slide is the synthetic one of ``side_by_side``; white surrounds it in both. Prints how many
cells have one of the same class within 2 um on the other side.
"""

import argparse
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.repeated_slide import write_repeated_slide
from pipeline.core.ccls import localize
from pipeline.core.matching import match
from pipeline.core.tiling import Box
from pipeline.io.plane import SlidePlane, plane_over
from pipeline.io.resolution import resolve_resolution
from pipeline.io.slides import open_slide
from pipeline.model.predictor import get_predictor, predictor_spec
from pipeline.model.spec import TOTAL_STRIDE
from pipeline.model.zoo import resolve_model

RADIUS_UM = 2.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--set", dest="pairs", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    slide, out = asked.folder / f"side-{asked.side}.svs", asked.folder / "against-untiled"
    if not slide.exists():
        write_repeated_slide(slide, asked.side)
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "run", str(slide), "--out", str(out)]
    command += [part for pair in asked.pairs for part in ("--set", pair)]
    subprocess.run([*command, "--model", asked.model], check=True)  # noqa: S603 - our own
    (folder,) = (out / "slides").iterdir()
    table = pq.read_table(folder / "cells.parquet").to_pydict()
    found = np.column_stack([table["x_l0"], table["y_l0"]])
    positive = np.array([label == "positive" for label in table["label"]])

    model = resolve_model(asked.model)
    predictor = get_predictor(predictor_spec(model, threads=2))
    card = predictor.card
    with closing(open_slide(slide)) as reader:
        frame = plane_over(reader, resolve_resolution(reader), card.mpp_um)
        side = -(-max(frame.width, frame.height) // TOTAL_STRIDE) * TOTAL_STRIDE
        box = Box(0, 0, side, side).grown(card.halo_px)
        pixels = SlidePlane(reader, frame).read(box)
    heatmap = next(iter(predictor.heatmaps([pixels], margin=card.halo_px)))
    heatmap = np.ascontiguousarray(heatmap[:, : frame.height, : frame.width])
    peaks = localize(heatmap, window=card.peak_rule().window, threshold=card.threshold)
    x_l0, y_l0 = frame.to_l0(peaks.x_px, peaks.y_px)
    true = np.column_stack([x_l0, y_l0])
    radius_px, matched = RADIUS_UM / card.mpp_um * frame.scale_x, 0
    for label in (True, False):
        pairs = match(found[positive == label], true[(peaks.label == 1) == label], radius_px)
        matched += len(pairs)
    f1 = 2 * matched / (len(found) + len(true))
    print(f"{len(found)} cells by tiles, {len(true)} in one piece, F1 {f1:.5f}")


if __name__ == "__main__":
    main()
