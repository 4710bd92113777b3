"""Libraries that only some ways to a cluster need: imported when asked for, named when missing."""

import importlib
from typing import Any

from pipeline.errors import ConfigError


def library(module: str, extra: str) -> Any:
    """Import a module of an optional library.

    Raises
    ------
    ConfigError
        It is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cluster.kind={extra}: {error.name} is not installed; "
            f"pip install 'ki67-pipeline[{extra}]'"
        ) from error
