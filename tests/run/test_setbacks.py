"""What an error of a task means: for its slide, for the next run, or for the whole batch."""

import errno
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from pipeline.errors import (
    ConfigError,
    DeviceError,
    DeviceMemoryError,
    InterruptedRunError,
    MissingDeviceError,
    ModelError,
    OutputError,
    SlideChangedError,
    UnreachableSlideError,
    UnreadableSlideError,
)
from pipeline.run.setbacks import Meaning, SchedulerLostError, judge
from pipeline.run.travelling import TaskFailedError
from pipeline.run.tries import TaskLostError, clear_tries

KNOWN, NEXT = False, True
OF_A_SLIDE = [
    (UnreadableSlideError("a.svs: damaged"), Meaning.SLIDE, KNOWN),
    (UnreachableSlideError("a.svs: away"), Meaning.SLIDE, NEXT),
    (TaskFailedError("region 3: ValueError: x"), Meaning.SLIDE, KNOWN),
    (ZeroDivisionError("x"), Meaning.SLIDE, KNOWN),
    (MemoryError(), Meaning.SLIDE, NEXT),
    (DeviceMemoryError("cuda: no memory for one tile; use fewer"), Meaning.SLIDE, NEXT),
    (SlideChangedError("a.svs: changed"), Meaning.STALE, NEXT),
    (TaskLostError("a worker died"), Meaning.WORKER_LOST, KNOWN),
    (TimeoutError(), Meaning.PASSING, KNOWN),
    (OSError(errno.ESTALE, "stale"), Meaning.PASSING, KNOWN),
]
OF_NO_SLIDE = [
    (CancelledError(), SchedulerLostError),
    (OutputError("full"), OutputError),
    (OSError(errno.ENOSPC, "full"), OutputError),
    (ModelError("weights"), ModelError),
    (MissingDeviceError("no CUDA device"), ModelError),
    (DeviceError("cuda: CUDA error: an illegal memory access"), InterruptedRunError),
    (ModuleNotFoundError("torch", name="torch"), ConfigError),
]


@pytest.fixture
def out(tmp_path: Path) -> str:
    clear_tries(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(("error", "meaning", "again"), OF_A_SLIDE, ids=lambda value: repr(value))
def test_what_concerns_one_slide(out: str, error: Exception, meaning: Meaning, again: bool) -> None:
    setback = judge(error, "region 3", out)
    assert (setback.meaning, setback.retry_next_run) == (meaning, again)
    assert "\n" not in setback.reason


@pytest.mark.parametrize(("error", "raised"), OF_NO_SLIDE, ids=lambda value: repr(value))
def test_what_concerns_no_slide_stops_the_batch(
    out: str, error: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        judge(error, "region 3", out)


def test_a_full_device_is_told_with_the_task_and_the_remedy(out: str) -> None:
    reason = judge(DeviceMemoryError("cuda: no memory; use less"), "region 3", out).reason
    assert reason == "region 3: cuda: no memory; use less"
