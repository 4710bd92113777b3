"""Crops of fields as pixels, on any device: cut, turned and scaled, then changed in looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.train.jpeg import compressed
from pipeline.train.looks import Looks
from pipeline.train.placing import Placement

FULL = 255.0
BLUR_REACH_PX = 3
STAINED = 0.2
"""Mean optical density from which a pixel counts as fully stained when density is added."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A field's pixels, ready to be sampled at single points.

    Attributes
    ----------
    darkness
        ``(3, H, W)`` uint8, 255 less the pixel: beyond the plane there is none.
    shift_px
        Added to the field's coordinates to give the plane's.
    """

    darkness: Tensor
    shift_px: float


def plane_of(image: NDArray[np.uint8], *, fine: bool, device: str = "cpu") -> Plane:
    """Prepare a field's ``(H, W, 3)`` image.

    Parameters
    ----------
    fine
        The image is about twice as fine as crops will be: each sample shall stand for the mean of
        2 x 2 pixels, the area of a crop's pixel.
    """
    dark = torch.from_numpy(np.ascontiguousarray((255 - image).transpose(2, 0, 1))).to(device)
    if not fine:
        return Plane(dark, 0.0)
    mean = functional.avg_pool2d(functional.pad(dark.float(), [1] * 4)[None], 2, stride=1)[0]
    return Plane((mean + 0.5).to(torch.uint8), 0.5)


def cut_crops(planes: Sequence[Plane], placements: Sequence[Placement], *, side_px: int) -> Tensor:
    """Cut a crop out of each field, white where there is no field.

    Parameters
    ----------
    planes, placements
        One per crop; the planes on one device.
    side_px
        Side of the crops.

    Returns
    -------
    Tensor
        ``(N, 3, side, side)`` float32, RGB in [0, 255].
    """
    device = planes[0].darkness.device
    origins, span = _windows(placements, side_px)
    windows = torch.zeros(len(planes), 3, span, span, device=device)
    for window, plane, (left, top) in zip(windows, planes, origins, strict=True):
        _copy_window(window, plane.darkness, left, top)
    numbers = [
        [*place.matrix.ravel(), *(place.origin - corner + plane.shift_px)]
        for plane, place, corner in zip(planes, placements, origins, strict=True)
    ]
    affine = torch.from_numpy(np.array(numbers, np.float32)).to(device)
    xx, xy, yx, yy, x0, y0 = (number.view(-1, 1, 1) for number in affine.unbind(dim=1))
    step = torch.arange(side_px, device=device) + 0.5
    across, down = step.view(1, 1, -1), step.view(1, -1, 1)
    # grid_sample's own frame: -1 and 1 are the window's edges
    grid = torch.stack([xx * across + xy * down + x0, yx * across + yy * down + y0], dim=-1)
    grid = grid * (2 / span) - 1
    return FULL - functional.grid_sample(windows, grid, mode="bilinear", align_corners=False)


def change_looks(pixels: Tensor, looks: Looks, noise: torch.Generator) -> Tensor:
    """Change the looks of crops; returns uint8.

    Parameters
    ----------
    pixels
        ``(N, 3, side, side)`` float, RGB in [0, 255]; not kept.
    noise
        On the pixels' device.
    """
    device = pixels.device

    def told(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device).view(len(values), -1, 1, 1)

    pixels = change_stains(pixels, torch.from_numpy(looks.mixing).to(device), told(looks.shift))
    offset, contrast = told(looks.offset) * FULL, told(looks.contrast)
    pixels = (pixels - FULL / 2) * contrast + FULL / 2 + offset
    if looks.focus.any():
        blurred = _blurred(pixels, torch.from_numpy(looks.sigma_px).to(device))
        pixels = pixels + told(looks.focus) * (blurred - pixels)
    if looks.noise.any():
        grain = torch.randn(pixels.shape, device=device, generator=noise)
        pixels = pixels + told(looks.noise) * grain
    pixels = pixels.clamp(0, FULL)
    chosen = np.flatnonzero(looks.quality)
    if len(chosen):
        rows = torch.from_numpy(chosen).to(device)
        quality = torch.from_numpy(looks.quality[chosen]).to(device)
        pixels[rows] = compressed(pixels[rows], quality)
    return (pixels + 0.5).clamp(0, FULL).to(torch.uint8)


def change_stains(pixels: Tensor, mixing: Tensor, shift: Tensor) -> Tensor:
    """Mix optical densities anew and add to them where there is stain; glass stays glass.

    Parameters
    ----------
    pixels
        ``(N, 3, H, W)`` float, RGB in [0, 255].
    mixing
        ``(N, 3, 3)``, density in to density out.
    shift
        ``(N, 3, 1, 1)``.
    """
    density = -torch.log((pixels.clamp(0, FULL) + 1) / 256)
    red, green, blue = density[:, 0:1], density[:, 1:2], density[:, 2:3]
    rows = mixing.view(-1, 3, 3, 1, 1)
    # nine products instead of a matrix product: the same bits whatever the library
    changed = red * rows[:, 0] + green * rows[:, 1] + blue * rows[:, 2]
    changed = changed + shift * (density.mean(dim=1, keepdim=True) / STAINED).clamp(max=1)
    return 256 * torch.exp(-changed) - 1


def _windows(placements: Sequence[Placement], side_px: int) -> tuple[np.ndarray, int]:
    """Corners (left, top) of equal square windows of fields that hold all of each crop."""
    square = np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]], np.float64)
    corners = np.stack([place.to_field(square) for place in placements])
    low = np.floor(corners.min(axis=1)).astype(np.int64) - 1
    high = np.ceil(corners.max(axis=1)).astype(np.int64) + 2
    return low, int((high - low).max())


def _copy_window(window: Tensor, darkness: Tensor, left: int, top: int) -> None:
    span, (height, width) = window.shape[-1], darkness.shape[-2:]
    y0, y1 = max(0, top), min(height, top + span)
    x0, x1 = max(0, left), min(width, left + span)
    if y0 < y1 and x0 < x1:
        window[:, y0 - top : y1 - top, x0 - left : x1 - left] = darkness[:, y0:y1, x0:x1]


def _blurred(pixels: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur each crop with its own Gaussian, the edge repeated beyond the crop."""
    count, channels, height, width = pixels.shape
    reach = torch.arange(-BLUR_REACH_PX, BLUR_REACH_PX + 1, device=pixels.device)
    kernel = torch.exp(-0.5 * (reach / sigma_px[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    planes = functional.pad(pixels, [BLUR_REACH_PX] * 4, mode="replicate")
    planes = planes.view(1, count * channels, *planes.shape[-2:])
    planes = functional.conv2d(planes, kernel[:, None, None, :], groups=count * channels)
    planes = functional.conv2d(planes, kernel[:, None, :, None], groups=count * channels)
    return planes.view(count, channels, height, width)
