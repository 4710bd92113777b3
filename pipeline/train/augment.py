"""Random changes of a crop that leave the cells cells; points move with the pixels."""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.train.config import AugmentConfig
from pipeline.train.fields import Field, area_cut

Rgb = NDArray[np.uint8]

# Stain vectors of haematoxylin, eosin and DAB in optical density (Ruifrok and Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
STAINS = (_STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)).astype(np.float32)
UNMIX = np.linalg.inv(STAINS.astype(np.float64)).astype(np.float32)
_DENSITY_OF_BYTE = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A square cut out of a field at the model's resolution.

    Attributes
    ----------
    image
        ``(side, side, 3)`` uint8 RGB.
    x_px, y_px
        float64 continuous coordinates of cells in the crop; some may lie outside it.
    label
        uint8 per cell.
    scale
        Random factor on the micrometres per pixel: above 1 cells are smaller than usual.
    """

    image: Rgb
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    label: NDArray[np.uint8]
    scale: float = 1.0


def random_crop(
    rng: np.random.Generator, field: Field, *, side_px: int, mpp_um: float, config: AugmentConfig
) -> Crop:
    """Cut a random square and change it at random.

    Parameters
    ----------
    rng
        The only source of chance.
    side_px
        Side of the crop in pixels of ``mpp_um``.
    """
    crop = place(rng, field, side_px=side_px, mpp_um=mpp_um, config=config)
    turns = int(rng.integers(4)) if config.turns else 0
    crop = turn(crop, quarter_turns=turns, mirror=bool(rng.integers(2)))
    return replace(crop, image=restain(rng, crop.image, config))


def place(
    rng: np.random.Generator, field: Field, *, side_px: int, mpp_um: float, config: AugmentConfig
) -> Crop:
    """Cut a square at a random place and scale."""
    low, high = config.scale
    # log-uniform: as often larger as smaller
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if high > low else low
    scale = mpp_um * factor / field.mpp_um
    height, width = field.image.shape[:2]
    x0 = _corner(rng, width, side_px * scale, config.overhang_px * scale)
    y0 = _corner(rng, height, side_px * scale, config.overhang_px * scale)
    image = area_cut(field.image, x0, y0, scale, width=side_px, height=side_px)
    x_px, y_px = (field.x_px - x0) / scale, (field.y_px - y0) / scale
    return Crop(image, x_px, y_px, field.label, factor)


def turn(crop: Crop, *, quarter_turns: int, mirror: bool) -> Crop:
    """Mirror left-right, then turn counter-clockwise by 90 degrees ``quarter_turns`` times."""
    image, x_px, y_px = crop.image, crop.x_px, crop.y_px
    side = image.shape[0]
    if mirror:
        image, x_px = image[:, ::-1], side - x_px
    image = np.rot90(image, quarter_turns)
    for _ in range(quarter_turns % 4):
        x_px, y_px = y_px, side - x_px
    return Crop(np.ascontiguousarray(image), x_px, y_px, crop.label, crop.scale)


def restain(rng: np.random.Generator, image: Rgb, config: AugmentConfig) -> Rgb:
    """Change stain strengths, brightness, contrast and colour, and now and then blur or compress.

    The generator is asked equally often whatever the settings.
    """
    relative = 1 + rng.uniform(-config.stain, config.stain, 3)
    shift = rng.uniform(-config.stain_shift, config.stain_shift, 3)
    brightness = rng.uniform(-config.brightness, config.brightness)
    contrast = 1 + rng.uniform(-config.contrast, config.contrast)
    colour = rng.uniform(-config.colour, config.colour, 3)
    blurred, radius = rng.random() < config.blur, rng.uniform(0.3, 0.9)
    compressed, quality = rng.random() < config.jpeg, int(rng.integers(50, 96))
    if config.stain or config.stain_shift:
        image = change_stains(image, relative, shift)
    if config.brightness or config.contrast or config.colour:
        image = change_light(image, brightness + colour, contrast)
    if blurred:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))
    return compress(image, quality) if compressed else image


def change_stains(image: Rgb, relative: NDArray[np.float64], shift: NDArray[np.float64]) -> Rgb:
    """Scale and shift the densities of haematoxylin, eosin and DAB; glass stays glass.

    Parameters
    ----------
    relative
        ``(3,)`` factors.
    shift
        ``(3,)`` densities added where there is stain at all.
    """
    density = _DENSITY_OF_BYTE[image]
    mixing = (UNMIX * relative[None, :].astype(np.float32)) @ STAINS
    added = (shift.astype(np.float32) @ STAINS)[None, None, :]
    changed = density @ mixing + added * np.minimum(density.mean(axis=2, keepdims=True) * 5, 1)
    return np.asarray((256 * np.exp(-changed) - 0.5).clip(0, 255).astype(np.uint8))


def change_light(image: Rgb, offset: NDArray[np.float64], contrast: float) -> Rgb:
    """Change brightness per channel (share of full scale) and contrast about mid-grey."""
    level = np.arange(256)[:, None] / 255
    table = ((level - 0.5) * contrast + 0.5 + offset[None, :]) * 255
    table = (table + 0.5).clip(0, 255).astype(np.uint8)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], axis=-1)


def compress(image: Rgb, quality: int) -> Rgb:
    """Return the image after JPEG compression."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    with Image.open(stream) as opened:
        return np.asarray(opened.convert("RGB"))


def _corner(rng: np.random.Generator, length: float, side: float, overhang: float) -> float:
    low, high = -overhang, length - side + overhang
    if high < low:  # the field is smaller than the crop: keep all of it inside
        low, high = high, low
    return float(rng.uniform(low, high))
