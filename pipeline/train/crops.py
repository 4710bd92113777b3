"""Batches: which crop comes at which step, and the maps the network shall predict for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.maps import MapRule, image_max_dt_px, location_map
from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.train.augment import Crop, random_crop
from pipeline.train.config import TrainConfig
from pipeline.train.fields import UNCLASSED, Field


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input.

    Attributes
    ----------
    images
        ``(N, 3, side, side)`` uint8.
    targets
        ``(N, channels, side, side)`` float32, about 1 at a cell.
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
        self._largest: dict[int, tuple[float | None, ...]] = {}

    def batch(self, step: int) -> Batch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self._config.seed, step])
        images, targets, classed = [], [], []
        for _ in range(self._config.batch):
            field = self._draw(rng)
            crop = random_crop(
                rng,
                field,
                side_px=self._config.crop_px,
                mpp_um=self._config.mpp_um,
                config=self._config.augment,
            )
            images.append(crop.image.transpose(2, 0, 1))
            targets.append(target_maps(crop, self._rules(field, crop)))
            classed.append(field.classed or self._channels == 1)
        return Batch(np.stack(images), np.stack(targets), np.array(classed))

    def _draw(self, rng: np.random.Generator) -> Field:
        source = int(np.searchsorted(self._share, rng.random(), side="right"))
        fields = self._fields[min(source, len(self._fields) - 1)]
        return fields[int(rng.integers(len(fields)))]

    def _rules(self, field: Field, crop: Crop) -> list[MapRule]:
        """One rule per channel; an image's own Max(DT) is that of the whole field."""
        settings, mpp_um = self._config.map, self._config.mpp_um
        if not settings.rule(mpp_um).needs_image:
            return [settings.rule(mpp_um)] * self._channels
        if id(field) not in self._largest:
            self._largest[id(field)] = tuple(
                field_max_dt_px(field, chosen, mpp_um=mpp_um)
                for chosen in channel_masks(field.label, self._channels)
            )
        # a class without a cell has an empty map whatever its Max(DT)
        return [
            settings.rule(mpp_um, 1.0 if largest is None else max(1.0, largest / crop.scale))
            for largest in self._largest[id(field)]
        ]


def field_max_dt_px(field: Field, chosen: NDArray[np.bool_], *, mpp_um: float) -> float | None:
    """Max(DT) of chosen cells over the whole field, in pixels of ``mpp_um``; None without one."""
    factor = field.mpp_um / mpp_um
    height, width = (max(1, round(side * factor)) for side in field.image.shape[:2])
    x_px = np.minimum(field.x_px[chosen] * factor, np.nextafter(width, 0))
    y_px = np.minimum(field.y_px[chosen] * factor, np.nextafter(height, 0))
    return image_max_dt_px(x_px, y_px, (height, width))


def channel_masks(label: NDArray[np.uint8], channels: int) -> list[NDArray[np.bool_]]:
    """Which cells belong to each channel.

    One channel holds all cells; of two the first holds positive cells, the second negative ones.
    Cells of unknown class go into the first.
    """
    if channels == 1:
        return [np.ones(len(label), bool)]
    return [(label == POSITIVE) | (label == UNCLASSED), label == NEGATIVE]


def target_maps(crop: Crop, rules: Sequence[MapRule]) -> NDArray[np.float32]:
    """Maps of a crop, ``(len(rules), side, side)`` float32; cells just outside count as well."""
    side = crop.image.shape[0]
    maps = []
    for rule, chosen in zip(rules, channel_masks(crop.label, len(rules)), strict=True):
        margin = rule.reach_px()
        shape = (side + 2 * margin, side + 2 * margin)
        x_px, y_px = crop.x_px[chosen] + margin, crop.y_px[chosen] + margin
        whole = location_map(x_px, y_px, shape, rule)
        maps.append(whole[margin : margin + side, margin : margin + side])
    return np.stack(maps)
