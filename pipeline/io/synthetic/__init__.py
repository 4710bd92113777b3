"""Synthetic Ki-67 slides and fields with known cells."""

from pipeline.io.synthetic.ranges import DEMO_RANGES, TRAINING_RANGES, SynthRanges, training_seed
from pipeline.io.synthetic.render import render_field

__all__ = ["DEMO_RANGES", "TRAINING_RANGES", "SynthRanges", "render_field", "training_seed"]
