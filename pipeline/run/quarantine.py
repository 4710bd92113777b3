"""Slides set aside because their workers died or hung: what is said of them, and the record."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pipeline.io.files import write_json_atomic
from pipeline.run.job import SlideJob
from pipeline.run.plan import utc_now
from pipeline.run.tries import DEVICE_LOST, Try

QUARANTINE_NAME = "quarantine"

_MEMORY_SHARE = 0.75
"""Of its memory: a worker killed above this had too little."""

_TRACE_LINES = 60
_THREAD = re.compile(r"^(?:(?:Current thread|Thread) 0x|Stack \()")
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+) in (\S+)$')


class Ending(Enum):
    """How a worker ended."""

    HUNG = "did not end"
    CRASHED = "crashed"
    MEMORY = "ran out of memory"
    DEVICE = "lost its device"
    KILLED = "was killed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a slide that is set aside."""

    ending: Ending
    reason: str
    retry_next_run: bool


def ending_of(last: Try | None) -> Ending:
    """Tell how the worker of a try ended; without any trace it was killed from outside."""
    if last is None:
        return Ending.KILLED
    if any(line.startswith(DEVICE_LOST) for line in last.trace):
        return Ending.DEVICE
    if any(line.startswith("Timeout (") for line in last.trace):
        return Ending.HUNG
    if any(line.startswith("Fatal Python error") for line in last.trace):
        return Ending.CRASHED
    if last.memory_bytes > _MEMORY_SHARE * last.memory_limit_bytes > 0:
        return Ending.MEMORY
    return Ending.KILLED


def verdict_on(job: SlideJob, task: str, tries: Sequence[Try]) -> Verdict:
    """Tell in one line why a slide is set aside, and whether the next run should try it."""
    last = tries[-1] if tries else None
    ending, times = ending_of(last), _times(tries)
    if last is None or ending is Ending.KILLED:
        return Verdict(ending, f"worker killed repeatedly ({task})", True)
    if ending is Ending.HUNG:
        limit_s = job.config.cluster.task_timeout_s
        reason = (
            f"{job.name}: {task} did not end within {limit_s:g} s{_place(last)}, {times}; "
            "raise cluster.task_timeout_s if the slide's storage is slow"
        )
        return Verdict(ending, reason, True)
    if ending is Ending.MEMORY:
        used, limit = (value / 2**30 for value in (last.memory_bytes, last.memory_limit_bytes))
        reason = (
            f"{job.name}: {task} ran out of memory, {times} ({used:.2f} of {limit:.2f} GiB); "
            "use fewer --workers or a smaller prediction.tile_core_px"
        )
        return Verdict(ending, reason, True)
    reason = f"{job.name}: {task} crashed its worker, {times} ({_words(last)}{_place(last)})"
    # one crash may be a machine's; the same one again and again is the slide's
    passing = len(tries) < 2 or any(ending_of(entry) is Ending.DEVICE for entry in tries)
    return Verdict(ending, reason, passing)


def device_fault(job: SlideJob, task: str, tries: Sequence[Try]) -> str:
    """Say in one line that a task lost its device each time, the last time where and how."""
    last = tries[-1]
    said = next(line for line in last.trace if line.startswith(DEVICE_LOST))
    return (
        f"{job.name}: {task} lost its device, {_times(tries)}, the last time on {last.host} "
        f"({said.removeprefix(DEVICE_LOST)}); no slide is blamed: look at the device and its "
        "driver, then run the same command to go on"
    )


def keep_record(job: SlideJob, task: str, tries: Sequence[Try], verdict: Verdict) -> None:
    """Write ``quarantine/<slide_id>.json``: the task, each try, its last words.

    Raises
    ------
    OutputError
        The output folder cannot be written.
    """
    record: dict[str, Any] = {
        "schema": 1,
        "slide_id": job.slide_id,
        "name": job.name,
        "run_id": job.run_id,
        "task": task,
        "ending": verdict.ending.value,
        "reason": verdict.reason,
        "set_aside": utc_now(),
        "tried_again_by": "the next run" if verdict.retry_next_run else "--retry-failed",
        "tries": [
            asdict(entry) | {"ending": ending_of(entry).value, "trace": entry.trace[:_TRACE_LINES]}
            for entry in tries
        ],
    }
    write_json_atomic(record_path(job), record)


def drop_record(job: SlideJob) -> None:
    """Forget that a slide was set aside: it has its result now."""
    record_path(job).unlink(missing_ok=True)


def record_path(job: SlideJob) -> Path:
    """Where a slide's record stands, if it was set aside."""
    return Path(job.out) / QUARANTINE_NAME / f"{job.slide_id}.json"


def _times(tries: Sequence[Try]) -> str:
    return f"{len(tries)} time{'' if len(tries) == 1 else 's'}"


def _words(last: Try) -> str:
    for line in last.trace:
        if line.startswith("Fatal Python error: "):
            return line.removeprefix("Fatal Python error: ")
    return "no word"


def _place(last: Try) -> str:
    """The innermost call of the thread that ran the task, as ' in name (file:line)'."""
    threads = _threads(last.trace)
    own = [thread for thread in threads if last.thread in thread[0]] or threads[:1]
    for line in own[0] if own else []:
        if frame := _FRAME.match(line):
            return f" in {frame[3]} ({Path(frame[1]).name}:{frame[2]})"
    return ""


def _threads(trace: Sequence[str]) -> list[list[str]]:
    """Lines of each thread of a trace; the first of each names it."""
    found: list[list[str]] = []
    for line in trace:
        if _THREAD.match(line):
            found.append([])
        if found:
            found[-1].append(line)
    return found
