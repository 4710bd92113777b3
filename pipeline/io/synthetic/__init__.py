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
from pipeline.io.synthetic.slide import SyntheticSlide, with_artefacts
from pipeline.io.synthetic.truth import SlideTruth, write_truth
from pipeline.io.synthetic.write import write_synthetic_slide

__all__ = [
    "DEMO_RANGES",
    "FIRST_UNSEEN_SEED",
    "TRAINING_RANGES",
    "Scene",
    "SlideStyle",
    "SlideTruth",
    "SynthRanges",
    "SyntheticField",
    "SyntheticSlide",
    "draw_style",
    "render_field",
    "require_seed",
    "unseen_seed",
    "with_artefacts",
    "write_synthetic_slide",
    "write_truth",
]
