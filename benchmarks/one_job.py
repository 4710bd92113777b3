"""The job of one slide, for benchmarks that do a slide's tasks in their own process."""

from pathlib import Path

from pipeline.config import RunConfig
from pipeline.io.sources import discover
from pipeline.model.card import load_card
from pipeline.model.zoo import resolve_model
from pipeline.run.job import SlideJob


def job_of(location: str, config: RunConfig, out: Path) -> SlideJob:
    """Make the job of the one slide at a path or a URL."""
    model = resolve_model(config.prediction.model)
    (slide,) = discover([location])
    return SlideJob(
        slide_id=slide.slide_id,
        path=slide.location,
        name=slide.relative,
        out=str(out),
        config=config,
        model_folder=str(model),
        weights_sha256=load_card(model).weights_sha256,
        run_id="benchmark",
    )
