"""A check and its outcome; one that crashes is a failure of that check alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes
    ----------
    remedy
        One line; empty where all is well.
    """

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""


Question = tuple[str, Callable[[], tuple[Outcome, str, str]]]
"""Name of a check, and what answers it: outcome, what was found, remedy."""


def ask(questions: Sequence[Question]) -> Iterator[Check]:
    """Answer one question after the other; an exception is an answer too."""
    for name, answer in questions:
        try:
            outcome, found, remedy = answer()
        except Exception as error:  # noqa: BLE001 (the check has failed, the others go on)
            words = " ".join(str(error).split())[:200] or "no message"
            yield Check(
                name, "fail", f"{type(error).__name__}: {words}", "mend this, then run doctor again"
            )
        else:
            yield Check(name, outcome, found, remedy)


def examine(out: Path | None = None) -> Iterator[Check]:
    """Yield all checks of this machine.

    Parameters
    ----------
    out
        Folder to be written into; the current one where none is given.
    """
    from pipeline.run.doctor import folders, machine, software

    place = (out or Path()).absolute()
    yield from ask(machine.questions())
    yield from ask(folders.questions(place))
    yield from ask(software.questions())
