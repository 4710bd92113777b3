"""From a scene to pixels: stains mixed in optical density, then focus and sensor.

Every rectangle of the plane is drawn alone and agrees with its neighbours bit for bit: nuclei and
noise are functions of the place, stains of overlapping nuclei combine by maximum, and the blur
sees the same surroundings whichever rectangle is asked for.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.io.synthetic.noise import Floats, smooth, uniform
from pipeline.io.synthetic.ranges import TRAINING_RANGES, SynthRanges
from pipeline.io.synthetic.scene import NOT_TRUTH, REACH_UM, Nuclei, Scene

SKY_BLUE = np.array([0.80, 0.52, 0.30])
PURPLE_BLUE = np.array([0.64, 0.70, 0.32])
DAB = np.array([0.27, 0.52, 0.81])
HAZE = np.array([0.55, 0.62, 0.56])

Plane = NDArray[np.float32]


def render(
    scene: Scene, x0_px: int, y0_px: int, width: int, height: int, mpp_um: float
) -> NDArray[np.uint8]:
    """Pixels ``(height, width, 3)`` uint8 RGB of one rectangle of the slide."""
    p = scene.parameters
    sigma_px = p.blur_um / mpp_um
    margin = math.ceil(4 * sigma_px) + 1
    x_um = (np.arange(x0_px - margin, x0_px + width + margin) + 0.5) * mpp_um
    y_um = (np.arange(y0_px - margin, y0_px + height + margin) + 0.5) * mpp_um
    density = _optical_density(scene, x_um, y_um, mpp_um)
    if density is None:
        light = np.ones((height, width, 3), np.float32)
    else:
        light = np.exp(density * np.float32(-math.log(10)))
        for channel in range(3):
            light[..., channel] = ndimage.gaussian_filter(
                light[..., channel], sigma_px, mode="nearest", radius=margin - 1
            )
        light = light[margin : margin + height, margin : margin + width]
    ix = np.arange(x0_px, x0_px + width, dtype=np.int64)[None, :]
    iy = np.arange(y0_px, y0_px + height, dtype=np.int64)[:, None]
    # the sum of two uniforms is near enough to a normal for sensor noise
    grain = (uniform(p.seed, 41, ix, iy) + uniform(p.seed, 42, ix, iy) - 1.0) * 2.45 * p.noise
    tint = np.array([1.0, 0.995, 0.975])
    pixels = light * (p.glass * tint).astype(np.float32) + grain.astype(np.float32)[..., None]
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


def render_field(
    seed: int, *, size_px: int, mpp_um: float = 0.25, ranges: SynthRanges = TRAINING_RANGES
) -> tuple[NDArray[np.uint8], Floats, Floats, NDArray[np.uint8]]:
    """A field full of tissue with its true tumour cells.

    Returns
    -------
    image, x_px, y_px, label
        ``(size_px, size_px, 3)`` uint8 RGB; continuous pixel coordinates (centres at +0.5);
        1 positive, 0 negative.
    """
    scene = Scene(ranges.draw(seed))
    image = render(scene, 0, 0, size_px, size_px, mpp_um)
    side_um = size_px * mpp_um
    cells = true_cells(scene.nuclei(0.0, 0.0, side_um, side_um))
    return image, cells.x_um / mpp_um, cells.y_um / mpp_um, cells.kind


def true_cells(nuclei: Nuclei) -> Nuclei:
    """The tumour cells: what a detector is asked to find."""
    return nuclei.take(nuclei.kind != NOT_TRUTH)


def _optical_density(scene: Scene, x_um: Floats, y_um: Floats, mpp_um: float) -> Plane | None:
    """``(H, W, 3)`` float32 optical density, None where all is glass."""
    tissue = _tissue_share(scene, x_um, y_um)
    if not tissue.any():
        return None
    p = scene.parameters
    fibre = smooth(p.seed, 51, x_um * 0.9, y_um, 5.0) * smooth(p.seed, 52, x_um, y_um * 0.5, 14.0)
    cloud = smooth(p.seed, 53, x_um, y_um, 40.0)
    haze = (p.haze_od * tissue * (0.35 + 0.9 * cloud + 1.1 * fibre)).astype(np.float32)
    brown = smooth(p.seed, 54, x_um, y_um, 18.0)
    dab = (p.dab_haze_od * tissue * 2.0 * brown * cloud).astype(np.float32)
    haematoxylin = (0.35 * p.haze_od * tissue * smooth(p.seed, 55, x_um, y_um, 9.0)).astype(
        np.float32
    )
    nuclei = scene.nuclei(
        x_um[0] - REACH_UM, y_um[0] - REACH_UM, x_um[-1] + REACH_UM, y_um[-1] + REACH_UM
    )
    grain = _chromatin(p.seed, x_um, y_um)
    _stain(nuclei, x_um, y_um, mpp_um, grain, haematoxylin, dab)
    tinted = SKY_BLUE + p.haematoxylin_tint * (PURPLE_BLUE - SKY_BLUE)
    density = np.empty((*haze.shape, 3), np.float32)
    for channel in range(3):
        density[..., channel] = (
            haematoxylin * np.float32(tinted[channel] / np.linalg.norm(tinted))
            + dab * np.float32(DAB[channel] / np.linalg.norm(DAB))
            + haze * np.float32(HAZE[channel])
        )
    return density


def _tissue_share(scene: Scene, x_um: Floats, y_um: Floats) -> Plane:
    """1 on tissue, 0 on glass and in gaps, made on a coarse grid and softened at the edge."""
    step = 4.0
    grid_x = np.arange(math.floor(x_um[0] / step) - 1, math.ceil(x_um[-1] / step) + 2) * step
    grid_y = np.arange(math.floor(y_um[0] / step) - 1, math.ceil(y_um[-1] / step) + 2) * step
    mesh_y, mesh_x = np.meshgrid(grid_y, grid_x, indexing="ij")
    solid = scene.tissue_at(mesh_x, mesh_y) & ~scene.gap_at(mesh_x, mesh_y)
    if not solid.any():
        return np.zeros((len(y_um), len(x_um)), np.float32)
    share = solid.astype(np.float32)
    column = (x_um - grid_x[0]) / step
    row = (y_um - grid_y[0]) / step
    left, above = np.floor(column).astype(int), np.floor(row).astype(int)
    fx = (column - left).astype(np.float32)[None, :]
    fy = (row - above).astype(np.float32)[:, None]
    across = share[:, left] + (share[:, left + 1] - share[:, left]) * fx
    return np.asarray(across[above] + (across[above + 1] - across[above]) * fy)


def _chromatin(seed: int, x_um: Floats, y_um: Floats) -> Plane:
    """Texture of nuclei: around 1, clumped at 1 um and 2.5 um."""
    fine = smooth(seed, 56, x_um, y_um, 1.0)
    coarse = smooth(seed, 57, x_um, y_um, 2.5)
    return (0.55 + 0.45 * fine + 0.45 * coarse).astype(np.float32)


def _stain(
    nuclei: Nuclei,
    x_um: Floats,
    y_um: Floats,
    mpp_um: float,
    grain: Plane,
    haematoxylin: Plane,
    dab: Plane,
) -> None:
    """Draw every nucleus into the two stain planes, in place (they belong to the caller alone)."""
    x0, y0 = x_um[0], y_um[0]
    height, width = grain.shape
    reach = 1.5 * nuclei.major_um
    left = np.clip(np.floor((nuclei.x_um - reach - x0) / mpp_um), 0, width).astype(int)
    right = np.clip(np.ceil((nuclei.x_um + reach - x0) / mpp_um) + 1, 0, width).astype(int)
    top = np.clip(np.floor((nuclei.y_um - reach - y0) / mpp_um), 0, height).astype(int)
    low = np.clip(np.ceil((nuclei.y_um + reach - y0) / mpp_um) + 1, 0, height).astype(int)
    cos, sin = np.cos(nuclei.angle), np.sin(nuclei.angle)
    for i in np.flatnonzero((right > left) & (low > top)):
        box = np.s_[top[i] : low[i], left[i] : right[i]]
        dx = (x_um[left[i] : right[i]] - nuclei.x_um[i])[None, :].astype(np.float32)
        dy = (y_um[top[i] : low[i]] - nuclei.y_um[i])[:, None].astype(np.float32)
        u = (dx * cos[i] + dy * sin[i]) / nuclei.major_um[i]
        v = (dy * cos[i] - dx * sin[i]) / nuclei.minor_um[i]
        shade = _profile(u, v, nuclei.shape_seed[i]) * grain[box]
        np.maximum(haematoxylin[box], shade * np.float32(nuclei.haematoxylin_od[i]),
                   out=haematoxylin[box])
        if nuclei.dab_od[i] > 0:
            np.maximum(dab[box], shade * np.float32(nuclei.dab_od[i]), out=dab[box])


def _profile(u: Plane, v: Plane, shape_seed: float) -> Plane:
    """Stain of one nucleus over its own axes: bumpy outline, soft edge, slightly darker rim."""
    phase = np.float32(2 * math.pi * shape_seed)
    square = u * u + v * v + np.float32(1e-6)
    # cos(2t) and cos(3t) of the polar angle without computing the angle
    bump = (u * u - v * v) / square * np.cos(3 * phase)
    bump += (u * u * u - 3 * u * v * v) / (square * np.sqrt(square)) * np.cos(phase)
    rho = np.sqrt(square) * (1 + np.float32(0.07) * bump)
    edge = np.clip((np.float32(1.06) - rho) * np.float32(5.0), 0, 1)
    return np.asarray(edge * (np.float32(0.82) + np.float32(0.25) * np.minimum(rho, 1.0)))
