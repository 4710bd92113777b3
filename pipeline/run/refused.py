"""A finished slide that cannot be scored as is asked now: its result stands, the refusal is known.

It is told as failed once. From then on it is known, until the slide, the settings, a file that the
score is made from or ``--retry-failed`` says otherwise.
"""

from pathlib import Path
from typing import Any

from pipeline.io.done import REFUSED_NAME
from pipeline.io.files import output_errors, write_json_atomic
from pipeline.io.results import has_result
from pipeline.run.job import Key, SlideJob
from pipeline.run.plan import read_json_object


def keep_refusal(folder: Path, keys: Key, reason: str) -> None:
    """Write down that a slide's result cannot be made with these keys, and why.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_json_atomic(folder / REFUSED_NAME, {"schema": 1, "reason": reason, "keys": keys})


def known_refusal(job: SlideJob, keys: Key) -> str:
    """Why the same was refused before; empty where it was not, or is to be tried again."""
    if job.retry_failed or not has_result(job.folder):
        return ""
    kept = _read(job.folder)
    return str(kept.get("reason", "")) if kept.get("keys") == keys else ""


def last_refusal(folder: Path) -> str:
    """Why a slide was refused last."""
    return str(_read(folder).get("reason", ""))


def drop_refusal(folder: Path) -> None:
    """Forget it: the slide stands as is asked.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    with output_errors(folder):
        (folder / REFUSED_NAME).unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / REFUSED_NAME) or {}
