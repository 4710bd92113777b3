"""Errors on their way from a worker to the driver: only what can be made again there travels.

An error whose class needs other arguments than it was made with, or a module that the driver does
not have, cannot be made again; dask drops such a message, and its task would never end.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import SlideError

_KNOWN_ROOMS = ("builtins", "pipeline", "distributed")


class TaskFailedError(SlideError):
    """An error of a library, as text."""


@contextmanager
def travelling(task: str) -> Iterator[None]:
    """Let an error of the body out in a form that reaches the driver.

    Raises
    ------
    TaskFailedError
        In place of an error that does not travel.
    """
    sent: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a library may raise anything
        sent = error if _travels(error) else _as_known(error, task)
    if sent is not None:
        # raised out here and cut off: what it came from may not travel either
        sent.__cause__ = sent.__context__ = None
        raise sent


def first_line(error: BaseException) -> str:
    """The first line of an error's text, not too long for a table."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no message"


def _as_known(error: Exception, task: str) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, str(error.strerror or first_line(error)))
    return TaskFailedError(f"{task}: {type(error).__name__}: {first_line(error)}")


def _travels(error: Exception) -> bool:
    if type(error).__module__.partition(".")[0] not in _KNOWN_ROOMS:
        return False
    try:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - of this very process
    except Exception:  # noqa: BLE001 - whatever a class does when it is made
        return False
    return type(again) is type(error) and str(again) == str(error)
