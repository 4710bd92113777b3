"""Batches: which crop comes at which step, and the maps the network shall predict for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.maps import image_max_dt_px
from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.train.augment import change_looks, cut_crops, plane_of
from pipeline.train.config import TrainConfig
from pipeline.train.fields import UNCLASSED, Field
from pipeline.train.looks import Looks, draw_looks
from pipeline.train.placing import Placement, draw_placement
from pipeline.train.targets import Seeds, seeds_of, target_maps


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input, on the training's device.

    Attributes
    ----------
    images
        ``(N, 3, side, side)`` uint8.
    targets
        ``(N, channels, side, side)`` float32, about 1 at a cell.
    classed
        ``(N,)`` bool: False where only the maximum over the channels is known. None where all of
        the training's fields tell classes.
    """

    images: Tensor
    targets: Tensor
    classed: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything that chance decides about a batch, on the host.

    Attributes
    ----------
    step
        The batch's step.
    fields
        ``(N,)``: numbers of the fields.
    seeds
        Where cells lie in the crops.
    max_dt_px
        ``(N, channels)``, where each image has its own Max(DT).
    """

    step: int
    fields: NDArray[np.int64]
    placements: tuple[Placement, ...]
    looks: Looks
    seeds: Seeds
    max_dt_px: NDArray[np.float64] | None


class CropSampler:
    """Draws batches; a batch depends on the seed and the step only, so nothing needs saving.

    Fields wait on the device, no finer than twice the model's resolution.
    """

    def __init__(
        self, config: TrainConfig, fields: Sequence[Sequence[Field]], *, channels: int
    ) -> None:
        self._config = config
        self._channels = channels
        finest_um = config.mpp_um / 2
        every = [_no_finer(field, finest_um) for some in fields for field in some]
        self._fields = every
        self._xy_px = [np.column_stack([field.x_px, field.y_px]) for field in every]
        self._masks = [channel_masks(field.label, channels) for field in every]
        self._planes = [
            plane_of(field.image, fine=field.mpp_um == finest_um, device=config.device)
            for field in every
        ]
        self._ends = np.cumsum([len(some) for some in fields])
        weight = np.array([source.weight for source in config.training], np.float64)
        self._share = np.cumsum(weight / weight.sum())
        self._classed = np.array([field.classed or channels == 1 for field in every])
        self._rule = config.map.rule(config.mpp_um)
        self._max_dt_px = self._own_max_dt_px() if self._rule.needs_image else None

    def batch(self, step: int) -> Batch:
        """Draw the batch of one step."""
        return self.render(self.plan(step))

    def plan(self, step: int) -> Plan:
        """Decide by chance what the batch of one step is."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        chosen = np.array([self._draw(rng) for _ in range(config.batch)])
        placements = tuple(self._place(rng, self._fields[number]) for number in chosen)
        seeds = [
            seeds_of(crop, place.to_crop(self._xy_px[number]), self._masks[number])
            for crop, (number, place) in enumerate(zip(chosen, placements, strict=True))
        ]
        largest = None
        if self._max_dt_px is not None:
            scale = np.array([place.scale for place in placements])
            largest = np.maximum(self._max_dt_px[chosen] / scale[:, None], 1.0)
        looks = draw_looks(rng, config.batch, config.augment)
        return Plan(step, chosen, placements, looks, np.concatenate(seeds), largest)

    def render(self, plan: Plan) -> Batch:
        """Make a planned batch's pixels and maps."""
        config, device = self._config, torch.device(self._config.device)
        noise = torch.Generator(device).manual_seed(config.seed * 2**32 + plan.step)
        planes = [self._planes[number] for number in plan.fields]
        pixels = cut_crops(planes, plan.placements, side_px=config.crop_px)
        targets = target_maps(
            plan.seeds,
            (config.batch, self._channels, config.crop_px),
            self._rule,
            max_dt_px=plan.max_dt_px,
            device=device,
        )
        classed = None
        if not self._classed.all():
            classed = torch.from_numpy(self._classed[plan.fields]).to(device)
        return Batch(change_looks(pixels, plan.looks, noise), targets, classed)

    def _draw(self, rng: np.random.Generator) -> int:
        source = int(np.searchsorted(self._share, rng.random(), side="right"))
        end = int(self._ends[min(source, len(self._ends) - 1)])
        begin = int(self._ends[source - 1]) if source else 0
        return int(rng.integers(begin, end))

    def _place(self, rng: np.random.Generator, field: Field) -> Placement:
        height, width = field.image.shape[:2]
        return draw_placement(
            rng,
            (width, height),
            field_mpp_um=field.mpp_um,
            side_px=self._config.crop_px,
            mpp_um=self._config.mpp_um,
            config=self._config.augment,
        )

    def _own_max_dt_px(self) -> NDArray[np.float64]:
        """Max(DT) of every field and channel; a class without a cell has an empty map anyway."""
        return np.array(
            [
                [
                    field_max_dt_px(field, chosen, mpp_um=self._config.mpp_um) or 1.0
                    for chosen in masks
                ]
                for field, masks in zip(self._fields, self._masks, strict=True)
            ]
        )


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


def _no_finer(field: Field, mpp_um: float) -> Field:
    return field if field.mpp_um >= mpp_um else field.resampled(mpp_um)
