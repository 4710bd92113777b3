"""Synthetic Ki-67 slides and fields with known cells."""

from pipeline.io.synthetic.field import SyntheticField, render_field
from pipeline.io.synthetic.ranges import (
    DEMO_RANGES,
    FIRST_UNSEEN_SEED,
    TRAINING_RANGES,
    SlideStyle,
    SynthRanges,
    draw_style,
    require_seed,
    unseen_seed,
)
from pipeline.io.synthetic.scene import Scene

__all__ = [
    "DEMO_RANGES",
    "FIRST_UNSEEN_SEED",
    "TRAINING_RANGES",
    "Scene",
    "SlideStyle",
    "SynthRanges",
    "SyntheticField",
    "draw_style",
    "render_field",
    "require_seed",
    "unseen_seed",
]
