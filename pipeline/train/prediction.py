"""Heatmaps of whole fields: white around the field, tiles with a halo, as on a slide."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.core.ccls import Peaks
from pipeline.core.localizing import PeakRule, PostKind
from pipeline.core.tiling import STRIDE_PX, TileLattice
from pipeline.model.card import ModelCard
from pipeline.model.predictor import get_predictor, predictor_spec
from pipeline.model.zoo import resolve_model
from pipeline.train.fields import WHITE, Field

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 ``(N, H, W, 3)`` at the model's resolution -> float32 ``(N, channels, H, W)``."""
TILE_CORE_PX = 512


def field_heatmap(
    predict: Predict, image: NDArray[np.uint8], *, halo_px: int, core_px: int = TILE_CORE_PX
) -> NDArray[np.float32]:
    """Predict a field's heatmap, ``(channels, H, W)`` float32.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8 at the model's resolution.
    halo_px
        Context of a tile, a multiple of 32; white beyond the image.
    core_px
        Largest side of a tile's core.
    """
    height, width = image.shape[:2]
    # a small field is one tile no larger than it must be
    needed = -(-max(height, width) // STRIDE_PX) * STRIDE_PX
    lattice = TileLattice(width, height, min(core_px, needed), halo_px)
    side = lattice.core
    bottom, right = lattice.rows * side - height, lattice.cols * side - width
    around = [(halo_px, halo_px + bottom), (halo_px, halo_px + right), (0, 0)]
    padded = np.pad(image, around, constant_values=int(WHITE))
    heatmap: NDArray[np.float32] | None = None
    for row in range(lattice.rows):
        for col in range(lattice.cols):
            tile = lattice.tile(row, col)
            span = side + 2 * halo_px
            y0, x0 = tile.core.y0, tile.core.x0
            found = predict(padded[None, y0 : y0 + span, x0 : x0 + span])[0]
            if heatmap is None:
                heatmap = np.zeros((len(found), height, width), np.float32)
            kept = found[:, halo_px : halo_px + tile.core.height, :]
            kept = kept[:, :, halo_px : halo_px + tile.core.width]
            heatmap[:, y0 : tile.core.y1, x0 : tile.core.x1] = kept
    return heatmap if heatmap is not None else np.zeros((1, height, width), np.float32)


def candidates(
    predict: Predict, field: Field, *, halo_px: int, rule: PeakRule, floor: float
) -> Peaks:
    """Find all peaks of a field (at the model's resolution) that reach ``floor``.

    A threshold above ``floor`` keeps those whose score reaches it: nothing else changes.
    """
    heatmap = field_heatmap(predict, field.image, halo_px=halo_px)
    return rule.candidates(heatmap, floor=floor)


def model_candidates(
    model: str,
    field: Field,
    *,
    floor: float | None = None,
    post: PostKind | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> tuple[Peaks, ModelCard, Field]:
    """Find the peaks of a stored model on a field of any resolution.

    Parameters
    ----------
    floor, post
        None takes the model card's.

    Returns
    -------
    tuple
        Peaks in pixels of the field at the model's resolution, the model's card, that field.
    """
    spec = predictor_spec(resolve_model(model), threads=threads, device=device)
    predictor = get_predictor(spec)
    card = predictor.card
    scaled = field.resampled(card.mpp_um)
    peaks = candidates(
        predictor.predict,
        scaled,
        halo_px=card.halo_px,
        rule=card.peak_rule(post),
        floor=card.floor if floor is None else floor,
    )
    return peaks, card, scaled
