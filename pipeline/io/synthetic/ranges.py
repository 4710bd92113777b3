"""What may vary between synthetic slides: training ranges, and others for demo and tests."""

from dataclasses import dataclass, fields

import numpy as np

FIRST_DEMO_SEED = 1_000_000
"""Training draws seeds below this; the demo, the tests and the benchmarks draw from here on."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SynthRanges:
    """Intervals from which one slide's parameters are drawn uniformly.

    Attributes
    ----------
    radius_um
        Mean major half-axis of tumour nuclei.
    density
        Share of the places (one per 9 x 9 um) of a tumour nest that hold a nucleus.
    positive_share
        Mean share of tumour nuclei that are positive; it drifts over the slide.
    haematoxylin_od, dab_od
        Optical density of a typical negative and positive nucleus.
    haematoxylin_tint
        0 pale sky blue ... 1 purple blue.
    haze_od, dab_haze_od
        Optical density of cytoplasm and stroma, and of unspecific brown.
    blur_um
        Standard deviation of the defocus.
    noise
        Standard deviation of the sensor noise in grey levels.
    glass
        Grey level of empty glass.
    """

    radius_um: Interval
    density: Interval
    positive_share: Interval
    haematoxylin_od: Interval
    dab_od: Interval
    haematoxylin_tint: Interval
    haze_od: Interval
    dab_haze_od: Interval
    blur_um: Interval
    noise: Interval
    glass: Interval

    def draw(self, seed: int) -> "SceneParameters":
        """The parameters of one slide."""
        rng = np.random.default_rng([seed, 0x5EED])
        values = {f.name: float(rng.uniform(*getattr(self, f.name))) for f in fields(self)}
        return SceneParameters(seed=seed, **values)


@dataclass(frozen=True, slots=True)
class SceneParameters:
    """One slide's parameters; names and units as in ``SynthRanges``."""

    seed: int
    radius_um: float
    density: float
    positive_share: float
    haematoxylin_od: float
    dab_od: float
    haematoxylin_tint: float
    haze_od: float
    dab_haze_od: float
    blur_um: float
    noise: float
    glass: float


TRAINING_RANGES = SynthRanges(
    radius_um=(3.1, 4.3),
    density=(0.45, 0.8),
    positive_share=(0.03, 0.6),
    haematoxylin_od=(0.28, 0.62),
    dab_od=(0.8, 1.8),
    haematoxylin_tint=(0.0, 0.7),
    haze_od=(0.02, 0.10),
    dab_haze_od=(0.0, 0.05),
    blur_um=(0.25, 0.5),
    noise=(1.0, 3.5),
    glass=(236.0, 246.0),
)

DEMO_RANGES = SynthRanges(
    radius_um=(4.3, 4.6),
    density=(0.55, 0.7),
    positive_share=(0.15, 0.35),
    haematoxylin_od=(0.62, 0.72),
    dab_od=(1.8, 2.0),
    haematoxylin_tint=(0.7, 0.85),
    haze_od=(0.10, 0.12),
    dab_haze_od=(0.05, 0.06),
    blur_um=(0.5, 0.55),
    noise=(3.5, 4.0),
    glass=(232.0, 236.0),
)


def training_seed(index: int) -> int:
    """The seed of the ``index``-th training field; never one of the demo's.

    Raises
    ------
    ValueError
        When the index is outside 0 ... 999,999.
    """
    if not 0 <= index < FIRST_DEMO_SEED:
        raise ValueError(f"training seed {index} is outside 0 ... {FIRST_DEMO_SEED - 1}")
    return index
