"""The next batch is prepared in a thread while the network works on this one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Hands out what a function gives for each step, the next one ready in advance.

    A context manager. What is prepared must depend on the step only, so that doing it ahead
    changes nothing.
    """

    def __init__(self, prepare: Callable[[int], T]) -> None:
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="crops")
        self._ready: tuple[int, Future[T]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def get(self, step: int, *, last: int) -> T:
        """Return what belongs to a step and begin with the next one's, below ``last``."""
        step_ready, made = self._ready or (-1, None)
        if made is None or step_ready != step:
            made = self._thread.submit(self._prepare, step)
        result = made.result()
        self._ready = None
        if step + 1 < last:
            self._ready = step + 1, self._thread.submit(self._prepare, step + 1)
        return result
