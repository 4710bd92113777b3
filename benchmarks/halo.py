"""How far cells depend on the tiles, by halo: tiled fields against fields predicted in one piece.

Tiles this small have far more border than a slide's: the figures are a lower bound for those.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.core.ccls import Peaks, localize
from pipeline.core.localizing import window_side
from pipeline.core.matching import match
from pipeline.model.predictor import get_predictor, predictor_spec
from pipeline.model.zoo import resolve_model
from pipeline.train.config import SourceConfig
from pipeline.train.datasets import load_fields
from pipeline.train.prediction import field_heatmap

HALOS_PX = (0, 32, 64, 96, 128)
WHOLE_HALO_PX = 256
MATCH_PX = 1.0


def agreement(tiled: Peaks, whole: Peaks) -> tuple[int, int]:
    """Cells found in one place with one label by both, and cells of both together."""
    places = [np.column_stack([peaks.x_px, peaks.y_px]) for peaks in (tiled, whole)]
    pairs = match(*places, MATCH_PX)
    same = tiled.label[pairs[:, 0]] == whole.label[pairs[:, 1]]
    return int(np.count_nonzero(same)), len(tiled) + len(whole)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fields", type=Path, help="folder of annotated fields")
    parser.add_argument("--kind", default="bcdata")
    parser.add_argument("--mpp", type=float, default=0.25)
    parser.add_argument("--model", default="default")
    parser.add_argument("--core", type=int, default=160, help="of a tile, model-frame pixels")
    asked = parser.parse_args()
    source = SourceConfig(
        name="fields", kind=asked.kind, path=str(asked.fields.resolve()), mpp_um=asked.mpp
    )
    predictor = get_predictor(predictor_spec(resolve_model(asked.model), threads=2))
    card, predict = predictor.card, predictor.predict
    window = window_side(card.nms_radius_um, card.mpp_um)
    images = [field.resampled(card.mpp_um).image for field in load_fields(source)]
    whole = [
        localize(
            field_heatmap(predict, image, halo_px=WHOLE_HALO_PX, core_px=4096),
            window=window,
            threshold=card.threshold,
        )
        for image in images
    ]
    print(f"{len(images)} fields, {sum(map(len, whole))} cells, tiles of {asked.core} px")
    for halo in HALOS_PX:
        same = total = 0
        for image, expected in zip(images, whole, strict=True):
            heatmap = field_heatmap(predict, image, halo_px=halo, core_px=asked.core)
            found = localize(heatmap, window=window, threshold=card.threshold)
            hits, cells = agreement(found, expected)
            same, total = same + hits, total + cells
        print(f"halo {halo:3d} px: matched F1 {2 * same / total:.4f}")


if __name__ == "__main__":
    main()
