"""What the server imports besides, where the network runs in torch."""

from contextlib import suppress
from importlib import import_module

with suppress(Exception):  # as in ``imports``
    import_module("pipeline.model.torch_engine")
