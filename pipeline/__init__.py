"""Whole-slide Ki-67 labelling index: slides in; cell points, heatmaps and a score out."""

__version__ = "0.1.0"

RESULTS_VERSION = 4
"""Raised only when the same slide, model and settings can give different results."""
