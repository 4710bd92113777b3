"""Pixels of a synthetic scene: stain amounts are filled in, light is absorbed, a camera sees it.

Two planes of stain amount (haematoxylin, DAB; natural optical density along the stain vector) are
filled with haze, fibres and nuclei; Beer-Lambert turns them into colour; focus blur and sensor
noise follow. Everything is a function of absolute pixel position and the scene.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pipeline.io.synthetic.noise import F32, F64, noise_map, texture
from pipeline.io.synthetic.nucleus import draw_nuclei
from pipeline.io.synthetic.ranges import glass_rgb
from pipeline.io.synthetic.scene import MAX_LENGTH_UM, NO_NUCLEI, Nuclei, Scene

NOISE_SIDE = 512
COARSE = 4
DEPTH_FADE_UM = 8.0


def render_rectangle(
    scene: Scene, x_px: int, y_px: int, width: int, height: int, mpp_um: float
) -> NDArray[np.uint8]:
    """Paint a rectangle of the plane, uint8 (height, width, 3).

    Parameters
    ----------
    scene : Scene
        What is on the slide.
    x_px, y_px : int
        Top left pixel; pixel (i, j) covers [i, i + 1) x [j, j + 1) times `mpp_um`.
    width, height : int
        Size in pixels.
    mpp_um : float
        Side of a pixel in um.
    """
    return render_with_nuclei(scene, x_px, y_px, width, height, mpp_um)[0]


def render_with_nuclei(
    scene: Scene, x_px: int, y_px: int, width: int, height: int, mpp_um: float
) -> tuple[NDArray[np.uint8], Nuclei]:
    """Paint a rectangle and return the nuclei whose centres lie in it; see `render_rectangle`."""
    if is_glass(scene, x_px, y_px, width, height, mpp_um):
        image = np.broadcast_to(glass_rgb(scene.style), (height, width, 3)).copy()
        return image, NO_NUCLEI
    pad, sigma_px = _padding(scene, mpp_um)
    reach_px = pad + MAX_LENGTH_UM / mpp_um
    planes = _background(scene, x_px - pad, y_px - pad, width + 2 * pad, height + 2 * pad, mpp_um)
    nuclei = scene.nuclei_in(
        (x_px - reach_px) * mpp_um,
        (y_px - reach_px) * mpp_um,
        (x_px + width + reach_px) * mpp_um,
        (y_px + height + reach_px) * mpp_um,
    )
    draw_nuclei(planes[0], planes[1], nuclei, scene.style, (x_px - pad, y_px - pad, mpp_um))
    image = _camera(scene, planes, x_px, y_px, pad, sigma_px)
    return image, nuclei.inside(
        x_px * mpp_um, y_px * mpp_um, (x_px + width) * mpp_um, (y_px + height) * mpp_um
    )


def is_glass(scene: Scene, x_px: int, y_px: int, width: int, height: int, mpp_um: float) -> bool:
    """Whether a rectangle is empty glass for certain, so that it need not be rendered."""
    reach_um = _padding(scene, mpp_um)[0] * mpp_um + MAX_LENGTH_UM + 1.0
    corner = (x_px * mpp_um, y_px * mpp_um)
    return scene.is_glass(*corner, width * mpp_um, height * mpp_um, reach_um=reach_um)


def _padding(scene: Scene, mpp_um: float) -> tuple[int, float]:
    """Pixels that the blur needs on every side, and its standard deviation in pixels."""
    sigma_px = scene.style.blur_um / mpp_um
    return int(np.ceil(3.0 * sigma_px)) + 1, sigma_px


def _background(
    scene: Scene, x0: int, y0: int, w: int, h: int, mpp_um: float
) -> tuple[F32, F32, F32]:
    """Haematoxylin haze, DAB haze and tissue alpha, float32 (h, w)."""
    style = scene.style
    # Haze is soft: it is made on a grid of COARSE pixels fixed to the plane, then interpolated.
    col0, row0 = x0 // COARSE - 1, y0 // COARSE - 1
    cols = np.arange(col0, (x0 + w) // COARSE + 3, dtype=np.float64)
    rows = np.arange(row0, (y0 + h) // COARSE + 3, dtype=np.float64)
    x_um: F64 = (cols + 0.5) * (COARSE * mpp_um)
    y_um: F64 = (rows + 0.5) * (COARSE * mpp_um)
    alpha = _tissue_alpha(scene, x_um, y_um)
    nest = np.clip(2.0 * (scene.nests.grid(x_um, y_um) - scene.nest_level) + 0.5, 0, 1)
    cloud = noise_map(scene.seed, 4, 9.0).grid(x_um, y_um)
    mottle = noise_map(scene.seed, 5, 3.0).grid(x_um, y_um)
    cytoplasm = np.maximum(0.1, 1.0 + 0.4 * cloud + 0.45 * mottle)
    ground = np.maximum(0.0, 0.4 + 0.3 * cloud + 0.25 * mottle) * style.haze
    fibres = _fibres(scene, x_um, y_um) * np.maximum(0.2, 1 + 0.5 * mottle)
    stroma = ground + style.fibre * fibres
    blue = alpha * (nest * style.haze * cytoplasm + (1 - nest) * stroma)
    brown_cloud = noise_map(scene.seed, 6, 24.0).grid(x_um, y_um)
    brown = alpha * style.dab_haze * np.maximum(0.1, 1.0 + 0.8 * brown_cloud + 0.4 * mottle)
    at = (x0, y0, w, h, col0, row0)
    return _refine(blue, *at), _refine(brown, *at), _refine(alpha, *at)


def _tissue_alpha(scene: Scene, x_um: F64, y_um: F64) -> F32:
    """1 in tissue, 0 on glass and in gaps, with a sharp but ragged border."""
    rough = noise_map(scene.seed, 8, 5.0).grid(x_um, y_um)
    tears = noise_map(scene.seed, 14, 14.0).grid(x_um, y_um)
    lumen = scene.gap_level - scene.gaps.grid(x_um, y_um) + 0.16 * rough
    torn = 2.9 - 4.0 * scene.style.gap_share - tears + 0.3 * rough
    alpha = np.clip(10.0 * lumen + 0.5, 0, 1) * np.clip(5.0 * torn + 0.5, 0, 1)
    if scene.tissue_depth is not None:
        xx, yy = np.broadcast_arrays(x_um[None, :], y_um[:, None])
        depth = scene.tissue_depth(xx.ravel(), yy.ravel()).reshape(xx.shape)
        edge = np.clip((depth + DEPTH_FADE_UM / 2) / DEPTH_FADE_UM + 0.3 * rough, 0, 1)
        alpha = alpha * edge * (depth > -DEPTH_FADE_UM)
    return np.asarray(alpha, np.float32)


def _fibres(scene: Scene, x_um: F64, y_um: F64) -> F32:
    """Wavy collagen bundles, float32 (h, w) >= 0, mean about 0.6."""
    angle = np.random.default_rng((scene.seed, 9)).uniform(0, np.pi)
    warp = noise_map(scene.seed, 10, 55.0).grid(x_um, y_um)
    ripple = noise_map(scene.seed, 15, 16.0).grid(x_um, y_um)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = x_um[None, :] * cos + y_um[:, None] * sin
    across = y_um[:, None] * cos - x_um[None, :] * sin + 9.0 * warp + 1.6 * ripple
    bundle = texture(scene.seed, 11, (1.1, 7.0), 512)
    row = np.floor(across / 0.8).astype(np.intp) % 512
    col = np.floor(along / 1.2).astype(np.intp) % 512
    return np.asarray(np.maximum(0.0, 0.4 + bundle[row, col]), np.float32)


def _refine(coarse: F32, x0: int, y0: int, w: int, h: int, col0: int, row0: int) -> F32:
    """Bilinear values of the coarse grid at every pixel, float32 (h, w)."""
    x = (np.arange(x0, x0 + w) + 0.5) / COARSE - 0.5 - col0
    y = (np.arange(y0, y0 + h) + 0.5) / COARSE - 0.5 - row0
    col, row = x.astype(np.intp), y.astype(np.intp)
    fx, fy = (x - col).astype(np.float32), (y - row).astype(np.float32)[:, None]
    coarse = np.asarray(coarse, np.float32)
    wide = coarse[:, col] * (1 - fx) + coarse[:, col + 1] * fx
    low = wide[row]
    return np.asarray(low + (wide[row + 1] - low) * fy, np.float32)


def _camera(
    scene: Scene, planes: tuple[F32, F32, F32], x_px: int, y_px: int, pad: int, sigma_px: float
) -> NDArray[np.uint8]:
    """Light through the stains, then blur and noise; the padding is cut off."""
    style = scene.style
    haematoxylin, dab, inside = planes
    height, width = dab.shape[0] - 2 * pad, dab.shape[1] - 2 * pad
    crop = np.s_[pad : pad + height, pad : pad + width]
    here = np.ix_(
        np.arange(y_px, y_px + height) % NOISE_SIDE, np.arange(x_px, x_px + width) % NOISE_SIDE
    )
    # No noise on glass: empty areas stay one colour, cheap to make and to compress.
    amount = np.float32(style.noise) * inside[crop]
    luma = texture(0, 12, 0.6, NOISE_SIDE)[here] * amount + np.float32(0.5)
    image = np.empty((height, width, 3), np.uint8)
    for channel, colour in enumerate(glass_rgb(style)):
        absorbed = haematoxylin * np.float32(-style.h_vector[channel])
        absorbed -= dab * np.float32(style.dab_vector[channel])
        light: F32 = gaussian_filter1d(np.exp(absorbed), sigma_px, 0, truncate=3.0)
        light = gaussian_filter1d(light, sigma_px, 1, truncate=3.0)[crop]
        chroma = texture(0, 13 + channel, 0.8, NOISE_SIDE)[here] * np.float32(0.4)
        image[..., channel] = np.clip(light * np.float32(colour) + luma + chroma * amount, 0, 255)
    return image
