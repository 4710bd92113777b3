"""The small slides, the tiny network and the shared cluster of the run's own tests."""

from tests.run.conftest import (  # noqa: F401 - fixtures are found by their names here
    configure,
    reference,
    scheduler,
    slides,
    tiny_model,
)
