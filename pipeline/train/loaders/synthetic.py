"""Synthetic fields: rendered, their cells known."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults


def load_synthetic(_folder: Path, source: SourceConfig, _faults: Faults) -> Iterator[Field]:
    """Render ``count`` fields from the source's seed on."""
    from pipeline.io.synthetic import DEMO_RANGES, TRAINING_RANGES, render_field

    ranges = TRAINING_RANGES if source.ranges == "training" else DEMO_RANGES
    mpp_um = source.image_mpp_um
    for seed in range(source.seed, source.seed + source.count):
        image, x_px, y_px, label = render_field(seed, source.size_px, mpp_um, ranges)
        name = f"synthetic-{seed}"
        yield Field(name, name, image, x_px, y_px, label, mpp_um)
