"""What bfloat16 costs and saves on this processor, the model that ships against itself (a script).

``python -m benchmarks.reduced_precision FOLDER``, of pictures at 0.25 um per pixel, such as
``bcdata_sample/images``: cells of both forms that match within 1 um, class for class, and CPU
seconds of one thread.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.core.ccls import Peaks
from pipeline.core.matching import match
from pipeline.model.engine import DType
from pipeline.model.fold import fold_network
from pipeline.model.predictor import Predictor, predictor_spec
from pipeline.model.registry import build_network, network_spec
from pipeline.model.torch_engine import TorchCpuEngine
from pipeline.model.zoo import resolve_model

NEAR_UM = 1.0
PICTURE_UM = 0.25
FORMS: tuple[DType, ...] = ("float32", "bfloat16")
TIMES = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--side", type=int, default=512, help="pixels of a tile whose time is taken"
    )
    asked = parser.parse_args()
    paths = sorted(asked.folder.glob("*.png"))
    for name in ("m_hrnet_w18", "m_hrnet_w18_small"):
        seconds = {form: tile_seconds(name, form, asked.side) for form in FORMS}
        print(name, *(f"{form} {took:.3f} CPU s a tile" for form, took in seconds.items()))
    spec = predictor_spec(resolve_model("default"))
    models = [Predictor(replace(spec, dtype=form)) for form in FORMS]
    found = matched = 0
    for path in paths:
        one, two = (cells(model, path) for model in models)
        found += len(one) + len(two)
        matched += 2 * matches(one, two, models[0].card.mpp_um)
    print(f"{len(paths)} pictures, {found} cells of both forms: matched F1 {matched / found:.4f}")


def tile_seconds(architecture: str, form: DType, side_px: int) -> float:
    """Median CPU seconds of one tile."""
    network = fold_network(build_network(network_spec(architecture)), in_place=True)
    engine = TorchCpuEngine(network, threads=1, dtype=form)
    tile = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), np.uint8)
    taken = []
    for _ in range(TIMES + 1):
        begun = time.process_time()
        next(iter(engine.heatmaps([tile], margin=0)))
        taken.append(time.process_time() - begun)
    return float(np.median(taken[1:]))


def cells(model: Predictor, path: Path) -> Peaks:
    """Cells of the part of a picture whose sides are multiples of 32 at the model's resolution."""
    picture, card = Image.open(path).convert("RGB"), model.card
    share = PICTURE_UM / card.mpp_um
    size = (round(picture.width * share) // 32 * 32, round(picture.height * share) // 32 * 32)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BOX, reducing_gap=None))
    return card.peak_rule().candidates(model.predict(pixels[None])[0], floor=card.threshold)


def matches(one: Peaks, two: Peaks, mpp_um: float) -> int:
    """Cells of one class that both forms have within ``NEAR_UM``."""
    pairs = 0
    for label in (0, 1):
        places = [
            np.column_stack([some.x_px[some.label == label], some.y_px[some.label == label]])
            for some in (one, two)
        ]
        pairs += len(match(*places, radius=NEAR_UM / mpp_um))
    return pairs


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
