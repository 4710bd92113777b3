"""One nucleus at a time: its outline, chromatin and stain, drawn into the stain planes."""

import numpy as np

from pipeline.io.synthetic.noise import F32, F64, texture
from pipeline.io.synthetic.ranges import SlideStyle
from pipeline.io.synthetic.scene import LYMPHOCYTE, MAX_LENGTH_UM, SPINDLE, TUMOUR, Nuclei

GRAIN_SIDE = 384


def draw_nuclei(
    haematoxylin: F32,
    dab: F32,
    nuclei: Nuclei,
    style: SlideStyle,
    frame: tuple[int, int, float],
) -> None:
    """Draw all nuclei into the two planes, float32 (h, w), in place.

    `frame` is (x0, y0, mpp_um): the first pixel of the planes and the side of a pixel in um.

    Nuclei combine by maximum, so the order in which they are drawn does not matter.
    """
    mpp_um = frame[2]
    fine = texture(0, 21, max(0.45, 0.22 / mpp_um), GRAIN_SIDE)
    coarse = texture(0, 22, max(0.8, 0.65 / mpp_um), GRAIN_SIDE)
    for index in range(nuclei.x_um.size):
        _draw_one(haematoxylin, dab, nuclei, index, style, frame, fine, coarse)


def _draw_one(
    haematoxylin: F32,
    dab: F32,
    nuclei: Nuclei,
    index: int,
    style: SlideStyle,
    frame: tuple[int, int, float],
    fine: F32,
    coarse: F32,
) -> None:
    x0, y0, mpp_um = frame
    own = nuclei.uniforms[index]
    kind = int(nuclei.kind[index])
    long_um, short_um = _axes(float(nuclei.radius_um[index]), kind, float(own[9]))
    half = int(np.ceil((1.35 * long_um + 0.6) / mpp_um))
    left = int(np.floor(nuclei.x_um[index] / mpp_um)) - half
    top = int(np.floor(nuclei.y_um[index] / mpp_um)) - half
    side = 2 * half + 1
    xa, xb = max(left, x0), min(left + side, x0 + dab.shape[1])
    ya, yb = max(top, y0), min(top + side, y0 + dab.shape[0])
    if xa >= xb or ya >= yb:
        return
    dx = ((np.arange(xa, xb) + 0.5) * mpp_um - nuclei.x_um[index]).astype(np.float32)[None, :]
    dy = ((np.arange(ya, yb) + 0.5) * mpp_um - nuclei.y_um[index]).astype(np.float32)[:, None]
    # Grain is cut at an offset of the nucleus's own, so every rectangle sees the same chromatin.
    grain_y = int(own[10] * (GRAIN_SIDE - side)) + ya - top
    grain_x = int(own[11] * (GRAIN_SIDE - side)) + xa - left
    cut = np.s_[grain_y : grain_y + yb - ya, grain_x : grain_x + xb - xa]
    u, v, q = _outline(dx, dy, long_um, short_um, own)
    q = q + np.float32(0.05) * coarse[cut]
    edge = np.float32(max(style.edge_um * (0.7 + 1.8 * own[12] ** 3), 0.6 * mpp_um) / short_um)
    alpha = np.clip((1 - q) / edge + np.float32(0.5), 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)
    place = np.s_[ya - y0 : yb - y0, xa - x0 : xb - x0]
    if nuclei.positive[index]:
        amount, blue = _positive_stain(own, style, q, fine[cut], coarse[cut])
    else:
        amount, blue = _negative_stain(own, style, kind, u, v, q, fine[cut], coarse[cut])
    np.maximum(dab[place], alpha * amount, out=dab[place])
    np.maximum(haematoxylin[place], alpha * blue, out=haematoxylin[place])


def _axes(radius_um: float, kind: int, shape: float) -> tuple[float, float]:
    """Long and short half axes in um; the area is that of a disc of the given radius."""
    if kind == SPINDLE:
        ratio = 3.0 + 1.6 * shape
    elif kind == LYMPHOCYTE:
        ratio = 1.0 + 0.12 * shape
    else:
        ratio = 1.02 + 0.85 * shape * shape
    root = float(np.sqrt(ratio))
    return min(radius_um * root, 0.7 * MAX_LENGTH_UM), radius_um / root


def _outline(dx: F32, dy: F32, long_um: float, short_um: float, own: F64) -> tuple[F32, F32, F32]:
    """Coordinates (u, v) in units of the axes and the outline distance q (1 on the border)."""
    angle = float(own[13]) * np.pi
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (dx * cos + dy * sin) / np.float32(long_um)
    v = (dy * cos - dx * sin) / np.float32(short_um)
    # A bend makes beans, a three-fold term makes rounded triangles and eggs.
    v = v + np.float32(0.5 * (own[14] - 0.5)) * (u * u - np.float32(0.3))
    square = u * u + v * v
    q = np.sqrt(square)
    lobe = (u * u * u - 3 * u * v * v) / (square + np.float32(0.3))
    q = np.asarray(q + np.float32(0.28 * (own[15] - 0.5)) * lobe, np.float32)
    return np.asarray(u, np.float32), np.asarray(v, np.float32), q


def _positive_stain(own: F64, style: SlideStyle, q: F32, fine: F32, coarse: F32) -> tuple[F32, F32]:
    """DAB and haematoxylin amounts of a positive nucleus, before the outline."""
    if own[16] < style.weak_share:
        strength, grain = 0.55 + 0.9 * own[17], 0.28 + 0.2 * own[18]
    else:
        strength = style.positive_amount * (0.55 + 0.9 * own[17])
        grain = 0.10 + 0.18 * own[18]
    body = 1 + np.float32(grain) * (np.float32(0.6) * fine + np.float32(0.8) * coarse)
    body = body + np.float32(0.12) * np.clip(q, 0, 1)
    amount = np.float32(strength) * np.maximum(body, np.float32(0.35))
    blue = np.full_like(q, 0.45 * style.negative_amount)
    return amount, blue


def _negative_stain(
    own: F64,
    style: SlideStyle,
    kind: int,
    u: F32,
    v: F32,
    q: F32,
    fine: F32,
    coarse: F32,
) -> tuple[F32, F32]:
    """DAB and haematoxylin amounts of a negative nucleus, before the outline."""
    strength = style.negative_amount * (0.65 + 0.7 * own[16])
    if kind == LYMPHOCYTE:
        strength = 1.75 * style.negative_amount
    elif kind == SPINDLE:
        strength = 1.15 * style.negative_amount
    vesicular = float(own[17]) if kind == TUMOUR else 0.0
    rim = np.clip(1 - np.abs(q - np.float32(0.84)) * np.float32(5.0), 0, 1)
    body = np.float32(1 - 0.28 * vesicular) + np.float32(0.14) * fine + np.float32(0.13) * coarse
    body = body + np.float32(0.06 + 0.3 * vesicular) * rim
    if kind == TUMOUR and own[18] < 0.7:
        spread = np.float32(0.02 + 0.03 * own[19])
        far = (u - np.float32(0.7 * (own[14] - 0.5))) ** 2 + (v - np.float32(own[19] - 0.5)) ** 2
        body = body + np.float32(0.55) * np.clip(1 - far / (3 * spread), 0, 1)
    blue = np.float32(strength) * np.maximum(body, np.float32(0.2))
    weak_dab = 0.10 * style.dab_haze / 0.08 * float(own[12])
    return np.full_like(q, weak_dab), blue
