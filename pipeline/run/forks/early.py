"""The server of workers, started as soon as a run's settings are known."""

from contextlib import suppress

from pipeline.config import RunConfig
from pipeline.errors import PipelineError
from pipeline.model.card import load_card
from pipeline.model.zoo import resolve_model
from pipeline.run.forks.server import start_server


def start_early(config: RunConfig) -> None:
    """Let the imports of the workers begin, if the run will have workers here and no device.

    Whatever is wrong with the model or the machine is told where it is needed.
    """
    if config.cluster.chosen != "local" or config.prediction.device != "cpu":
        return
    with suppress(PipelineError, OSError):
        card = load_card(resolve_model(config.prediction.model))
        start_server(card.engine(config.prediction.engine))
