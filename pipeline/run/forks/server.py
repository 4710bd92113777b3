"""A server that imports once what every worker needs; workers are its forks.

Started early, it imports on one core while the driver imports and opens on another. Its forks start
in a tenth of a second and share its pages; started one by one, each took a second and its own
memory for the same modules.
"""

import os
from multiprocessing import forkserver, get_all_start_methods

from pipeline.run.forks.environment import WORKER_ENVIRONMENT, environment_kept

METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
"""Dask's name for it; Windows cannot fork."""
MODULES = ("pipeline.run.forks.imports",)
ENGINES = {"torch": ("pipeline.run.forks.torch_imports",)}
HASH_SEED = "6640"
"""Dask's own for all workers: Python reads it once, before the fork."""


def start_server(engine: str = "") -> None:
    """Start the server of this process, unless there is one, and return while it imports.

    Parameters
    ----------
    engine
        Imported as well: ``torch``, or nothing.

    Raises
    ------
    OSError
        No process can be started.
    """
    if METHOD == "spawn":
        return
    forkserver.set_forkserver_preload([*MODULES, *ENGINES.get(engine, ())])
    with environment_kept():
        for name, value in {**WORKER_ENVIRONMENT, "PYTHONHASHSEED": HASH_SEED}.items():
            os.environ.setdefault(name, value)
        forkserver.ensure_running()
