"""Parameter ranges of synthetic Ki-67 slides, and the style one seed draws from them.

A `SynthRanges` states intervals; a `SlideStyle` is one draw: every slide (or training field) has
its own stain vectors, nucleus size, density and focus. The training and the demonstration ranges
are neighbours that do not contain each other, so a network trained on synthetic fields meets
parameters in the demonstration that it has never seen. Seeds are divided in the same way.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

FIRST_UNSEEN_SEED = 1_000_000
"""Training seeds are below; the demonstration, tests and benchmarks start here."""

Interval = tuple[float, float]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthRanges:
    """Intervals from which one slide's style is drawn uniformly.

    Lengths are in um, stain amounts in natural optical density along the stain vector, colours in
    0..255. Stain vectors are given by their red and blue direction cosines; green completes them
    to unit length. `first_seed <= seed < end_seed` is required of every slide of these ranges.
    """

    name: str
    first_seed: int
    end_seed: int
    h_red: Interval
    h_blue: Interval
    dab_red: Interval
    dab_blue: Interval
    glass_red: Interval
    glass_warmth: Interval
    radius_um: Interval
    radius_spread: Interval
    negative_amount: Interval
    positive_amount: Interval
    weak_share: Interval
    proposals_per_100um2: Interval
    touch: Interval
    nest_share: Interval
    gap_share: Interval
    positive_share: Interval
    haze: Interval
    dab_haze: Interval
    fibre: Interval
    edge_um: Interval
    blur_um: Interval
    noise: Interval


TRAINING_RANGES = SynthRanges(
    name="training",
    first_seed=0,
    end_seed=FIRST_UNSEEN_SEED,
    h_red=(0.60, 0.82),
    h_blue=(0.14, 0.36),
    dab_red=(0.30, 0.44),
    dab_blue=(0.69, 0.79),
    glass_red=(216.0, 242.0),
    glass_warmth=(4.0, 16.0),
    radius_um=(2.8, 4.2),
    radius_spread=(0.14, 0.28),
    negative_amount=(0.30, 0.85),
    positive_amount=(1.6, 6.5),
    weak_share=(0.15, 0.45),
    proposals_per_100um2=(1.0, 5.0),
    touch=(0.78, 1.08),
    nest_share=(0.50, 0.95),
    gap_share=(0.02, 0.22),
    positive_share=(0.05, 0.85),
    haze=(0.03, 0.13),
    dab_haze=(0.0, 0.08),
    fibre=(0.02, 0.10),
    edge_um=(0.20, 0.60),
    blur_um=(0.08, 0.32),
    noise=(1.0, 3.2),
)

DEMO_RANGES = SynthRanges(
    name="demo",
    first_seed=FIRST_UNSEEN_SEED,
    end_seed=2**31,
    h_red=(0.65, 0.71),
    h_blue=(0.36, 0.42),
    dab_red=(0.26, 0.30),
    dab_blue=(0.74, 0.81),
    glass_red=(242.0, 245.0),
    glass_warmth=(0.0, 4.0),
    radius_um=(3.2, 3.8),
    radius_spread=(0.14, 0.22),
    negative_amount=(0.50, 0.80),
    positive_amount=(2.0, 4.5),
    weak_share=(0.10, 0.15),
    proposals_per_100um2=(2.0, 3.6),
    touch=(0.88, 1.06),
    nest_share=(0.60, 0.80),
    gap_share=(0.03, 0.10),
    positive_share=(0.10, 0.45),
    haze=(0.13, 0.18),
    dab_haze=(0.01, 0.05),
    fibre=(0.05, 0.12),
    edge_um=(0.25, 0.50),
    blur_um=(0.10, 0.20),
    noise=(0.6, 1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideStyle:
    """One draw from `SynthRanges`: everything that is constant over a slide, same units."""

    h_vector: Vector
    dab_vector: Vector
    glass: Vector
    radius_um: float
    radius_spread: float
    negative_amount: float
    positive_amount: float
    weak_share: float
    proposals_per_100um2: float
    touch: float
    nest_share: float
    gap_share: float
    positive_share: float
    haze: float
    dab_haze: float
    fibre: float
    edge_um: float
    blur_um: float
    noise: float


def require_seed(seed: int, ranges: SynthRanges) -> int:
    """Return `seed` when it belongs to `ranges`: the wall between training and unseen slides.

    Training seeds are below 1,000,000; demonstration and test seeds are not.

    Raises
    ------
    ConfigError
        The seed lies outside the interval of these ranges.
    """
    if not ranges.first_seed <= seed < ranges.end_seed:
        raise ConfigError(
            f"seed {seed} is no {ranges.name} seed: use {ranges.first_seed} to "
            f"{ranges.end_seed - 1} (training and unseen slides never share a seed)"
        )
    return seed


def unseen_seed(number: int) -> int:
    """Map a user's number to a seed that training can never use: 7 -> 1,000,007."""
    return number if number >= FIRST_UNSEEN_SEED else FIRST_UNSEEN_SEED + max(number, 0)


def unit_vector(red: float, blue: float) -> Vector:
    """Unit stain vector (r, g, b) from its red and blue direction cosines."""
    green = float(np.sqrt(max(1.0 - red * red - blue * blue, 0.01)))
    norm = float(np.sqrt(red * red + green * green + blue * blue))
    return (red / norm, green / norm, blue / norm)


def draw_style(seed: int, ranges: SynthRanges, positive_share: float | None = None) -> SlideStyle:
    """Draw the style of one slide; the same seed and ranges give the same style.

    Parameters
    ----------
    seed : int
        Slide seed, inside the interval of `ranges`.
    ranges : SynthRanges
        Intervals to draw from.
    positive_share : float, optional
        Overrides the drawn share of positive tumour cells, 0..1.
    """
    rng = np.random.default_rng((require_seed(seed, ranges), 1))
    drawn = {
        field.name: float(rng.uniform(*getattr(ranges, field.name)))
        for field in fields(ranges)
        if isinstance(getattr(ranges, field.name), tuple)
    }
    if positive_share is not None:
        drawn["positive_share"] = positive_share
    red, warmth = drawn.pop("glass_red"), drawn.pop("glass_warmth")
    return SlideStyle(
        h_vector=unit_vector(drawn.pop("h_red"), drawn.pop("h_blue")),
        dab_vector=unit_vector(drawn.pop("dab_red"), drawn.pop("dab_blue")),
        glass=(red, red - 0.3 * warmth, red - warmth),
        **drawn,
    )


def glass_rgb(style: SlideStyle) -> NDArray[np.uint8]:
    """Glass colour, uint8 (3,), exactly as it is painted where there is no tissue."""
    return np.round(np.asarray(style.glass)).astype(np.uint8)
