"""The server of workers, started as soon as a run's settings are known."""

from contextlib import suppress
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.model.files import NETWORK_NAME
from pipeline.run.forks.server import start_server


def start_early(config: RunConfig) -> None:
    """Let the imports of the workers begin, if the run will have workers here and no device.

    Called before anything else is imported or read, so the network's engine is guessed from one
    file's name: where that is wrong, workers import theirs themselves. Whatever is wrong with the
    machine is told where it is needed.
    """
    if config.cluster.chosen != "local" or config.prediction.device != "cpu":
        return
    onnx = (Path(config.prediction.model).expanduser() / NETWORK_NAME).is_file()
    with suppress(OSError):
        start_server("onnxruntime" if onnx else "torch")
