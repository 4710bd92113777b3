"""Batches: which crop comes at which step, and the maps the network shall predict for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.maps import EDT_CLIP, edt_map, edt_profile, max_dt_px
from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.train.augment import Crop, random_crop
from pipeline.train.config import TrainConfig
from pipeline.train.fields import UNCLASSED, Field

CHANNELS = (POSITIVE, NEGATIVE)
"""Label of each channel of a two-channel heatmap."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input.

    Attributes
    ----------
    images
        ``(N, 3, side, side)`` uint8.
    targets
        ``(N, channels, side, side)`` float32 in [0, 1].
    classed
        ``(N,)`` bool: False where only the maximum over the channels is known.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    classed: NDArray[np.bool_]


class CropSampler:
    """Draws batches; a batch depends on the seed and the step only, so nothing needs saving."""

    def __init__(
        self, config: TrainConfig, fields: Sequence[Sequence[Field]], *, channels: int
    ) -> None:
        self._config = config
        self._channels = channels
        self._fields = [list(of_source) for of_source in fields]
        weight = np.array([source.weight for source in config.training], np.float64)
        self._share = np.cumsum(weight / weight.sum())

    def batch(self, step: int) -> Batch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self._config.seed, step])
        crops, classed = [], []
        for _ in range(self._config.batch):
            field = self._draw(rng)
            crops.append(
                random_crop(
                    rng,
                    field,
                    side_px=self._config.crop_px,
                    mpp_um=self._config.mpp_um,
                    config=self._config.augment,
                )
            )
            classed.append(field.classed or self._channels == 1)
        images = np.stack([crop.image.transpose(2, 0, 1) for crop in crops])
        targets = np.stack([self._target(crop) for crop in crops])
        return Batch(images, targets, np.array(classed))

    def _draw(self, rng: np.random.Generator) -> Field:
        source = int(np.searchsorted(self._share, rng.random(), side="right"))
        fields = self._fields[min(source, len(self._fields) - 1)]
        return fields[int(rng.integers(len(fields)))]

    def _target(self, crop: Crop) -> NDArray[np.float32]:
        return target_maps(crop, channels=self._channels, mpp_um=self._config.mpp_um)


def target_maps(crop: Crop, *, channels: int, mpp_um: float) -> NDArray[np.float32]:
    """EDT maps of a crop, ``(channels, side, side)`` float32; cells just outside count as well.

    One channel is the map of all cells; of two the first is of positive cells, the second of
    negative ones. Cells of unknown class go into the first.
    """
    side = crop.image.shape[0]
    largest = max_dt_px(mpp_um)
    margin = kernel_reach_px(largest)
    shape = (side + 2 * margin, side + 2 * margin)
    maps = []
    for channel in range(channels):
        chosen = np.ones(len(crop.label), bool)
        if channels > 1:
            chosen = crop.label == CHANNELS[channel]
            if channel == 0:
                chosen |= crop.label == UNCLASSED
        x_px, y_px = crop.x_px[chosen] + margin, crop.y_px[chosen] + margin
        whole = edt_map(x_px, y_px, shape, max_dt_px=largest)
        maps.append(whole[margin : margin + side, margin : margin + side])
    return np.stack(maps)


def kernel_reach_px(largest_dt_px: float) -> int:
    """Distance in pixels beyond which a cell leaves no trace in the map."""
    distance = np.arange(1, 4096, dtype=np.float64)
    values = edt_profile(distance, largest_dt_px)
    return int(distance[values >= EDT_CLIP].max(initial=1)) + 1
