"""Random changes of a crop's looks, drawn on the host: stain, light, focus, noise, JPEG."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.train.config import AugmentConfig

Numbers = NDArray[np.float32]

# Stain vectors of haematoxylin, eosin and DAB in optical density (Ruifrok and Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
STAINS = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
UNMIX = np.linalg.inv(STAINS)
JPEG_QUALITY = (50, 96)
NO_JPEG = 0


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What is done to each of N crops; the first axis is the crop.

    Attributes
    ----------
    mixing
        ``(N, 3, 3)``: optical density of RGB times this is the changed density.
    shift
        ``(N, 3)``: density added to RGB where there is stain.
    offset
        ``(N, 3)``: share of full scale added to RGB.
    contrast
        ``(N,)``: factor about mid-grey.
    focus
        ``(N,)``: 1 blurs, below 0 sharpens, 0 does neither.
    sigma_px
        ``(N,)``: of the blur, or of what sharpening looks at.
    noise
        ``(N,)``: standard deviation, levels of 255.
    quality
        ``(N,)``: JPEG quality, 0 for none.
    """

    mixing: Numbers
    shift: Numbers
    offset: Numbers
    contrast: Numbers
    focus: Numbers
    sigma_px: Numbers
    noise: Numbers
    quality: Numbers


def draw_looks(rng: np.random.Generator, count: int, config: AugmentConfig) -> Looks:
    """Draw the changes of ``count`` crops, equally many numbers whatever the settings."""

    def spread(width: float, *shape: int) -> NDArray[np.float64]:
        return width * rng.uniform(-1, 1, (count, *shape))

    relative, shift = 1 + spread(config.stain, 3), spread(config.stain_shift, 3)
    offset = spread(config.brightness, 1) + spread(config.colour, 3)
    contrast = 1 + spread(config.contrast)
    kind, amount, sigma = rng.random(count), rng.uniform(0.2, 1.0, count), rng.random(count)
    low, high = config.blur_px
    blurred = kind < config.blur
    sharpened = ~blurred & (kind < config.blur + config.sharpen)
    noisy, level = rng.random(count) < 0.5, rng.random(count)
    compressed = rng.random(count) < config.jpeg
    quality = rng.integers(*JPEG_QUALITY, count)
    return Looks(
        mixing=((UNMIX * relative[:, None, :]) @ STAINS).astype(np.float32),
        shift=(shift @ STAINS).astype(np.float32),
        offset=offset.astype(np.float32),
        contrast=contrast.astype(np.float32),
        focus=np.where(blurred, 1.0, np.where(sharpened, -amount, 0.0)).astype(np.float32),
        sigma_px=np.where(sharpened, 1.0, low + (high - low) * sigma).astype(np.float32),
        noise=(config.noise * level * noisy).astype(np.float32),
        quality=np.where(compressed, quality, NO_JPEG).astype(np.float32),
    )
