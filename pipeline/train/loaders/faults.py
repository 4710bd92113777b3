"""Faults of a whole set, gathered: one attempt names the first few and how many there are."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import AnnotationError

SHOWN = 3
"""Faults that are written out; the rest is a number."""


class Faults:
    """Collects what is wrong with a set's files; raised together by ``refuse``."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, message: str) -> None:
        """Remember a fault: one line that names the file and the remedy."""
        self.messages.append(message)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Remember an annotation error instead of raising it."""
        try:
            yield
        except AnnotationError as error:
            self.messages.append(str(error))

    def refuse(self, source: str) -> None:
        """Raise what was gathered, if anything was.

        Raises
        ------
        AnnotationError
            One line: the first faults and the number of the others.
        """
        count = len(self.messages)
        if not count:
            return
        if count == 1:
            raise AnnotationError(self.messages[0])
        shown = "; ".join(
            f"({number}) {message}" for number, message in enumerate(self.messages[:SHOWN], start=1)
        )
        rest = f"; and {count - SHOWN} more" if count > SHOWN else ""
        raise AnnotationError(f"source {source!r}: {count} faults: {shown}{rest}")
