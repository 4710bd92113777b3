"""Ki-67-like fields from haematoxylin-eosin ones: pixels stained anew, every nucleus given a class.

The haematoxylin density of an H&E field is where its nuclei are. Painted in haematoxylin's colour
again it is a negative nucleus, in DAB's a positive one, while eosin fades to the pale ground of an
immunostain. Texture, crowding and shapes stay those of real tissue, and the class is known.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.train.fields import Field

_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
_EOSIN = np.array([0.07, 0.99, 0.11])
_DAB = np.array([0.27, 0.57, 0.78])
"""Stain vectors in optical density (Ruifrok and Johnston 2001)."""
_PALE_BLUE = np.array([0.65, 0.60, 0.35])
"""Haematoxylin as a counterstain: bluer than beside eosin."""
_GLASS = np.array([0.45, 0.5, 0.7])
_NUCLEUS_UM = (3.5, 6.0)
_EDGE_UM = 0.6
_BLUR_UM = 0.35
_NUCLEAR_GAMMA = np.float32(1.4)
"""Haze of the stroma fades: a counterstain is sharp on nuclei."""
_FAINTEST = 0.35
"""DAB per haematoxylin of the palest positive nucleus."""
_DENSITY_OF_BYTE = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)

Density = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """Chance of one field's staining."""

    haematoxylin: Density
    dab: Density
    blue: float
    brown: float
    hidden: float
    ground: float
    ground_brown: float
    glass: Density


def recoloured(field: Field, *, seed: int) -> Field:
    """Paint a field anew and give its nuclei classes.

    Parameters
    ----------
    field
        Haematoxylin and eosin. Its cells of any label are painted and stay marked; its others are
        painted, seldom as positive, and stay others.
    seed
        Fixes classes and colours: the same field and seed give the same pixels.

    Returns
    -------
    Field
        As ``field``, every cell positive or negative.
    """
    rng = np.random.default_rng(seed)
    points = np.concatenate([np.column_stack([field.x_px, field.y_px]), field.other_xy_px])
    counted = np.arange(len(points)) < len(field.x_px)
    nuclei, ground = _densities(field.image)
    positive = _classes(rng, points * field.mpp_um, counted)
    brown = _brown_share(rng, points, positive, nuclei.shape, field.mpp_um)
    image = _painted(_look(rng), nuclei, ground, brown)
    label = np.where(positive[counted], POSITIVE, NEGATIVE).astype(np.uint8)
    return replace(field, name=f"{field.name}-recoloured-{seed}", image=image, label=label)


def _densities(image: NDArray[np.uint8]) -> tuple[Density, Density]:
    """Haematoxylin, scaled to about 1 in nuclei, and what there is of the other stain."""
    vectors = np.stack([_unit(_HAEMATOXYLIN), _unit(_EOSIN)])
    unmix = np.linalg.inv(np.stack([*vectors, _unit(np.cross(*vectors))])).astype(np.float32)
    density = np.maximum(_DENSITY_OF_BYTE[image] @ unmix, 0)
    blue, pink = density[..., 0], density[..., 1]
    low, high = np.percentile(blue, (20, 97))
    nuclei = np.clip((blue - low) / max(float(high - low), 0.1), 0, 1.5) ** _NUCLEAR_GAMMA
    ground = np.minimum(pink / max(float(np.percentile(pink, 95)), 0.1), 1.5)
    return nuclei.astype(np.float32), ground.astype(np.float32)


def _classes(
    rng: np.random.Generator, points_um: NDArray[np.float64], counted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Positive at random, denser in some places than in others; other cells divide less."""
    share = rng.beta(0.8, 1.6)
    waves_per_um = rng.normal(0, 1 / 120, (3, 2))
    phase = rng.uniform(0, 2 * np.pi, 3)
    waves = np.sin(points_um @ waves_per_um.T * 2 * np.pi + phase).sum(axis=1)
    local = share * np.exp(0.4 * waves)
    local = np.where(counted, local, local * rng.uniform(0, 0.3))
    return np.asarray(rng.random(len(points_um)) < local)


def _brown_share(
    rng: np.random.Generator,
    points: NDArray[np.float64],
    positive: NDArray[np.bool_],
    shape: tuple[int, ...],
    mpp_um: float,
) -> Density:
    """DAB per haematoxylin of every pixel: that of its nearest nucleus, fading away from it."""
    strength = np.maximum(np.exp(rng.normal(0, 0.45, len(points))), _FAINTEST) * positive
    radius_um = rng.uniform(*_NUCLEUS_UM, len(points))
    if not positive.any():
        return np.zeros(shape, np.float32)
    rows, cols = np.indices(shape)
    pixels = np.column_stack([cols.ravel() + 0.5, rows.ravel() + 0.5])
    distance_px, owner = KDTree(points).query(pixels)
    soft = 1 / (1 + np.exp((distance_px * mpp_um - radius_um[owner]) / _EDGE_UM))
    share = (strength[owner] * soft).reshape(shape)
    blurred = ndimage.gaussian_filter(share.astype(np.float32), _BLUR_UM / mpp_um)
    return np.asarray(blurred, np.float32)


def _look(rng: np.random.Generator) -> _Look:
    glass = _unit(_GLASS + rng.normal(0, 0.12, 3)) * rng.uniform(0, 0.35) * rng.uniform(0, 1)
    return _Look(
        haematoxylin=_unit(_PALE_BLUE + rng.normal(0, 0.06, 3)).astype(np.float32),
        dab=(1.15 * _unit(_DAB + rng.normal(0, 0.05, 3))).astype(np.float32),
        blue=rng.uniform(0.25, 1.2),
        brown=float(np.exp(rng.uniform(np.log(0.8), np.log(3.2)))),
        hidden=rng.uniform(0.7, 1.0),
        ground=rng.uniform(0.05, 0.3),
        ground_brown=rng.uniform(0.0, 0.6),
        glass=glass.astype(np.float32),
    )


def _painted(look: _Look, nuclei: Density, ground: Density, brown: Density) -> NDArray[np.uint8]:
    """Add up the densities of what was painted and return its colours."""
    # DAB hides the counterstain below it
    blue = nuclei * look.blue * (1 - np.minimum(brown, 1) * look.hidden)
    tint = look.haematoxylin * (1 - look.ground_brown) + look.dab * look.ground_brown
    density = blue[..., None] * look.haematoxylin + look.glass
    density += (nuclei * brown * look.brown)[..., None] * look.dab
    density += (ground * look.ground)[..., None] * tint
    return np.asarray((256 * np.exp(-density) - 0.5).clip(0, 255).astype(np.uint8))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))
