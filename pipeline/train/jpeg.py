"""What JPEG does to pixels, for a batch on any device: blocks, tables, chroma at half."""

import math

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8
# Quantisation tables of ITU-T T.81, annex K.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
)  # fmt: skip


def compressed(pixels: Tensor, quality: Tensor) -> Tensor:
    """Return the pixels as they come back from JPEG with halved chroma.

    Parameters
    ----------
    pixels
        ``(N, 3, H, W)`` floating, RGB in [0, 255]; H and W multiples of 16.
    quality
        ``(N,)`` in 1 to 100.
    """
    red, green, blue = pixels.unbind(dim=1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack([(blue - luma) / 1.772, (red - luma) / 1.402], dim=1)
    luma = _quantised((luma - 128)[:, None], _table(_LUMA, quality)) + 128
    small = _quantised(functional.avg_pool2d(chroma, 2), _table(_CHROMA, quality))
    from_blue, from_red = functional.interpolate(
        small, scale_factor=2.0, mode="bilinear", align_corners=False
    ).unbind(dim=1)
    luma = luma[:, 0]
    back_red, back_blue = luma + 1.402 * from_red, luma + 1.772 * from_blue
    back_green = (luma - 0.299 * back_red - 0.114 * back_blue) / 0.587
    return torch.stack([back_red, back_green, back_blue], dim=1).clamp(0, 255)


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """Steps of quantisation, ``(N, 1, 8, 8)``, scaled as the reference encoder does."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(-1, 1, 1, 1)
    steps = torch.tensor(base, dtype=torch.float32, device=quality.device).view(1, 1, BLOCK, BLOCK)
    return torch.floor((steps * scale + 50) / 100).clamp(1, 255)


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Round the cosine coefficients of every block of ``(N, C, H, W)`` to multiples of a table."""
    count, channels, height, width = planes.shape
    blocks = planes.view(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = blocks.transpose(3, 4)
    cosines = _cosines(planes.device)
    coefficients = cosines @ blocks @ cosines.T
    steps = table[:, :, None, None]
    back = cosines.T @ (torch.round(coefficients / steps) * steps) @ cosines
    return back.transpose(3, 4).reshape(count, channels, height, width)


def _cosines(device: torch.device) -> Tensor:
    position = torch.arange(BLOCK, dtype=torch.float32, device=device)
    angle = (2 * position[None, :] + 1) * position[:, None] * (math.pi / (2 * BLOCK))
    rows = torch.cos(angle) * math.sqrt(2 / BLOCK)
    rows[0] *= math.sqrt(0.5)
    return rows
