"""What an artefact does to light: one function a kind, pure in absolute position and seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline.core.classical import DAB, HAEMATOXYLIN
from pipeline.io.synthetic.noise import F32, noise_map, texture

EOSIN = (0.20, 0.90, 0.38)
"""Optical densities in red, green and blue, as real H&E fields show it."""
INKS = {
    "pen_blue": (0.95, 0.50, 0.12),
    "pen_green": (0.90, 0.30, 0.65),
    "pen_black": (1.50, 1.50, 1.45),
}
BLUR_UM = 3.0
RING_UM = 30.0
"""Width of a bubble's dark rim."""
SHIFT_UM = (21.0, 13.0)
"""Of the second layer of a fold, right and down."""
PAD_UM = 24.0
"""Pixels farther away than this have no part in a pixel."""
NOISE_SIDE = 512

Amount = NDArray[np.floating[Any]]
Look = Callable[["Place", F32, F32], F32]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the pixels lie, and what they lie on.

    Attributes
    ----------
    x_um, y_um
        float64 ``(w,)`` and ``(h,)``: centres of columns and rows.
    mpp_um
        Side of a pixel.
    glass
        float32 ``(3,)``: light through empty glass, 0 to 255.
    seed
        Of the textures.
    """

    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    mpp_um: float
    glass: F32
    seed: int

    def noise(self, stream: int, scale_um: float) -> F32:
        """Smooth noise of unit variance, ``(h, w)``."""
        return noise_map(self.seed, stream, scale_um).grid(self.x_um, self.y_um)

    def grain(self, stream: int) -> F32:
        """Noise of single pixels, ``(h, w)``."""
        whole = texture(self.seed, stream, 0.3, NOISE_SIDE)
        col = np.floor(self.x_um / self.mpp_um).astype(np.intp) % NOISE_SIDE
        row = np.floor(self.y_um / self.mpp_um).astype(np.intp) % NOISE_SIDE
        return np.asarray(whole[np.ix_(row, col)], np.float32)


def blurred(place: Place, light: F32, depth_um: F32) -> F32:
    """Out of focus by ``BLUR_UM``; the camera's noise stays sharp."""
    soft = _smoothed(light, BLUR_UM / place.mpp_um) + place.grain(31)[:, :, None]
    return _blend(light, soft, depth_um / 15)


def inked(colour: tuple[float, float, float]) -> Look:
    """Ink over the tissue, uneven, with a rim a few micrometres wide."""

    def look(place: Place, light: F32, depth_um: F32) -> F32:
        amount = np.clip(depth_um / 12, 0, 1) * (1 + np.float32(0.08) * place.noise(32, 40.0))
        return _absorb(light, amount, colour)

    return look


def folded(place: Place, light: F32, depth_um: F32) -> F32:
    """A second layer of the tissue beside it, and the dark line along the crease."""
    right, down = (round(shift / place.mpp_um) for shift in SHIFT_UM)
    second = np.roll(_smoothed(light, 0.8 / place.mpp_um), (-down, -right), axis=(0, 1))
    third = np.roll(light, (down, right), axis=(0, 1))
    stacked = light * (second / place.glass) * (third / place.glass)
    return _blend(light, stacked, depth_um / 6)


def bubbled(place: Place, light: F32, depth_um: F32) -> F32:
    """Air: a black rim, and within it a pale picture out of focus."""
    pale = place.glass * np.power(_smoothed(light, BLUR_UM / place.mpp_um) / place.glass, 0.8)
    inner = _blend(light, pale + place.grain(33)[:, :, None], (depth_um - RING_UM / 2) / 8)
    rim = np.clip(1.4 - np.abs(depth_um - RING_UM / 2) / (RING_UM / 2), 0, 1)
    return _absorb(inner, np.where(depth_um > 0, rim, 0), (1.5, 1.5, 1.5))


def dirty(place: Place, light: F32, depth_um: F32) -> F32:
    """Black dirt with an uneven border."""
    amount = np.clip((depth_um + 4 * place.noise(34, 18.0)) / 5, 0, 1)
    return _absorb(light, amount, (1.55, 1.50, 1.45))


def pigmented(place: Place, light: F32, depth_um: F32) -> F32:
    """Brown granules of 1 to 2 um in clouds, in no nucleus."""
    fine, cloud = place.noise(35, 1.8), place.noise(36, 30.0)
    wanted = np.float32(0.75) - np.float32(0.4) * cloud
    amount = np.clip(2.5 * (fine - wanted), 0, 1) * (depth_um > 0)
    return _absorb(light, amount, (0.55, 0.82, 1.05))


def pale(place: Place, light: F32, depth_um: F32) -> F32:
    """A fifth of the stain."""
    return _blend(light, place.glass * np.power(light / place.glass, 0.2), depth_um)


def dense(place: Place, light: F32, depth_um: F32) -> F32:
    """Two and a half times the stain, and haze of haematoxylin between nuclei."""
    strong = np.asarray(place.glass * np.power(light / place.glass, 2.5), np.float32)
    haze = 0.35 * _cover(place, light)
    return _blend(light, _absorb(strong, haze, _unit(HAEMATOXYLIN)), depth_um)


def unstained(place: Place, light: F32, depth_um: F32) -> F32:
    """Without haematoxylin: DAB alone is left."""
    _, dab = _stains(place, light)
    return _blend(light, _absorb(_clean(place, light), dab, _unit(DAB)), depth_um)


def eosin_stained(place: Place, light: F32, depth_um: F32) -> F32:
    """H&E: every nucleus blue, eosin over all tissue."""
    blue, brown = _stains(place, light)
    nuclei = _absorb(_clean(place, light), 1.2 * blue + 0.6 * brown, _unit(HAEMATOXYLIN))
    uneven = 1 + np.float32(0.25) * place.noise(37, 12.0)
    return _blend(light, _absorb(nuclei, 0.45 * _cover(place, light) * uneven, EOSIN), depth_um)


LOOKS: dict[str, Look] = {
    "blur": blurred,
    **{name: inked(colour) for name, colour in INKS.items()},
    "fold": folded,
    "bubble": bubbled,
    "debris": dirty,
    "pigment": pigmented,
    "pale": pale,
    "overstained": dense,
    "no_haematoxylin": unstained,
    "h_and_e": eosin_stained,
}
"""How each kind of artefact looks."""


def _blend(light: F32, other: Amount, amount: Amount) -> F32:
    weight = np.clip(amount, 0, 1)[:, :, None]
    return np.asarray(light + weight * (other - light), np.float32)


def _absorb(light: F32, amount: Amount, colour: tuple[float, float, float]) -> F32:
    density = amount[:, :, None] * np.asarray(colour, np.float32)
    return np.asarray(light * np.power(np.float32(10), -density), np.float32)


def _smoothed(light: F32, sigma_px: float) -> F32:
    return np.asarray(gaussian_filter(light, (sigma_px, sigma_px, 0), truncate=3.0), np.float32)


def _unit(stain: tuple[float, float, float]) -> tuple[float, float, float]:
    length = float(np.linalg.norm(stain))
    return stain[0] / length, stain[1] / length, stain[2] / length


def _stains(place: Place, light: F32) -> tuple[F32, F32]:
    """Amounts of haematoxylin and DAB, at least 0."""
    vectors = np.array([_unit(HAEMATOXYLIN), _unit(DAB), _unit(_residual())])
    unmix = np.linalg.inv(vectors).astype(np.float32)
    density = -np.log10(np.maximum(light, 1) / place.glass)
    amounts = np.maximum(density @ unmix, 0)
    return np.asarray(amounts[:, :, 0], np.float32), np.asarray(amounts[:, :, 1], np.float32)


def _residual() -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in np.cross(HAEMATOXYLIN, DAB))
    return red, green, blue


def _cover(place: Place, light: F32) -> F32:
    """1 on tissue, 0 on glass."""
    soft = _smoothed(light, 4.0 / place.mpp_um)
    density = -np.log10(np.maximum(soft, 1) / place.glass).mean(axis=2)
    return np.asarray(np.clip((density - 0.008) / 0.02, 0, 1), np.float32)


def _clean(place: Place, light: F32) -> F32:
    return np.broadcast_to(place.glass, light.shape).astype(np.float32)
