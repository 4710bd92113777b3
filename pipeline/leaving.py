"""Ending a process at once: taking apart what dask imports takes 0.7 s."""

import logging
import os
import sys


def leave(code: int) -> None:
    """End this process with an exit code, all that was logged and printed written.

    To be registered with ``atexit`` before anything else is: the other handlers have then run. It
    returns only where the streams cannot be written, for the interpreter to end as it does.
    """
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)
