"""A cluster that the user's own function makes: Coiled, a gateway, a site's wrapper."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import dask
from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.clusters.environment import CONNECT_S, DASK_SETTINGS
from pipeline.run.clusters.tls import refuse_open_network


@contextlib.contextmanager
def factory_client(settings: ClusterSettings) -> Iterator[Client]:
    """Yield a client of what ``module:callable`` returns, a cluster or a client; both are closed.

    Raises
    ------
    ConfigError
        The function is not found, fails, or returns something else.
    """
    make = load_factory(settings.factory)
    with dask.config.set(DASK_SETTINGS), contextlib.ExitStack() as opened:
        try:
            made = make(**settings.factory_options)
        except Exception as error:  # it is the user's own code: whatever it raises is told
            raise ConfigError(
                f"cluster.factory={settings.factory}: {type(error).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error
        if not isinstance(made, Client) and not hasattr(made, "scheduler_address"):
            raise ConfigError(
                f"cluster.factory={settings.factory}: returned {type(made).__name__}; "
                "return a dask cluster or a client"
            )
        made = opened.enter_context(made)
        client = made
        if not isinstance(made, Client):
            client = opened.enter_context(Client(made, timeout=CONNECT_S, set_as_default=False))
        refuse_open_network(str(client.scheduler.address), "cluster.factory's scheduler")
        yield client


def load_factory(name: str) -> Callable[..., Any]:
    """Return the callable of ``module:callable``; modules of the working folder are found too.

    Raises
    ------
    ConfigError
        There is no such module or no such callable in it.
    """
    module, _, attribute = name.partition(":")
    here = os.getcwd()  # noqa: PTH109 (an entry of sys.path is text)
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        made = attrgetter(attribute)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cluster.factory={name}: {error}") from error
    finally:
        if added:
            sys.path.remove(here)
    if not callable(made):
        raise ConfigError(f"cluster.factory={name}: is no function")
    return made  # type: ignore[no-any-return]
