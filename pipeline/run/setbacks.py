"""What an error of a task means: for the slide, for its next try, or for the whole run."""

import errno
from concurrent.futures import CancelledError
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from distributed import KilledWorker
from distributed.comm.core import CommClosedError

from pipeline.errors import (
    ConfigError,
    DeviceError,
    DeviceMemoryError,
    InterruptedRunError,
    ModelError,
    OutputError,
    SlideChangedError,
    SlideError,
    UnreachableSlideError,
)
from pipeline.run.plan import StaleWorkError
from pipeline.run.travelling import first_line
from pipeline.run.tries import TaskLostError, check_there

_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_PASSING_ERRNOS = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR})


class SchedulerLostError(Exception):
    """The scheduler went away with all futures; the files say what is left to do."""


class Meaning(Enum):
    """What the driver does about it."""

    WORKER_LOST = auto()
    """Try the task alone, a few times."""
    PASSING = auto()
    """Send the task again, a few times."""
    STALE = auto()
    """Plan the slide anew."""
    SLIDE = auto()
    """The slide failed."""


@dataclass(frozen=True, slots=True)
class Setback:
    """One failed task, judged."""

    meaning: Meaning
    reason: str
    retry_next_run: bool = False


def judge(error: BaseException, task: str, out: str) -> Setback:
    """Tell what an error means for its slide.

    Parameters
    ----------
    task
        Its name for a message, such as ``region 3``.

    Raises
    ------
    SchedulerLostError
        All futures are gone.
    OutputError, ModelError, ConfigError, InterruptedRunError
        No slide could go on.
    """
    match error:
        case CancelledError() | SchedulerLostError():
            raise SchedulerLostError from error
        case KilledWorker() | TaskLostError():
            return Setback(Meaning.WORKER_LOST, f"{task}: its worker died")
        case CommClosedError() | TimeoutError():
            return Setback(Meaning.PASSING, "the connection to a worker broke")
        case SlideChangedError() | StaleWorkError():
            check_there(Path(out))  # nothing is left to plan in where it is gone
            return Setback(Meaning.STALE, str(error), retry_next_run=True)
        case SlideError():
            passing = isinstance(error, UnreachableSlideError)
            return Setback(Meaning.SLIDE, str(error), retry_next_run=passing)
        case OutputError():
            check_there(Path(out))  # where it is gone, this says so and not which file is missing
            raise error
        case DeviceMemoryError():  # of a device that others use as well
            return Setback(Meaning.SLIDE, f"{task}: {error}", retry_next_run=True)
        case DeviceError():  # of a worker that could not end itself
            raise InterruptedRunError(f"{error}; no slide is blamed, run again") from error
        case ModelError() | ConfigError():
            raise error
        case ModuleNotFoundError():  # an installation's fault, never a slide's
            raise ConfigError(
                f"a worker cannot import {error.name}; install the same versions on all of them"
            ) from error
        case MemoryError():
            reason = f"{task}: no memory; use fewer --workers or a smaller prediction.tile_core_px"
            return Setback(Meaning.SLIDE, reason, retry_next_run=True)
        case OSError() if error.errno in _DISK_ERRNOS:
            raise OutputError(
                f"{out}: {error.strerror}; free space or make it writable, then run again"
            ) from error
        case OSError() if error.errno in _PASSING_ERRNOS:
            return Setback(Meaning.PASSING, str(error.strerror))
    return Setback(Meaning.SLIDE, f"{task}: {type(error).__name__}: {first_line(error)}")
