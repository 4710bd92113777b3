"""The next batch is drawn in a thread while the network works on this one."""

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pipeline.train.crops import Batch, CropSampler


class BatchesAhead:
    """Hands out batches by step, one of them ready in advance; a context manager.

    A batch depends on the seed and the step only, so drawing ahead changes none.
    """

    def __init__(self, sampler: CropSampler) -> None:
        self._sampler = sampler
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="crops")
        self._ready: tuple[int, Future[Batch]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def batch(self, step: int, *, last: int) -> Batch:
        """Return the batch of a step and begin with the next one's, below ``last``."""
        step_ready, drawn = self._ready or (-1, None)
        if drawn is None or step_ready != step:
            drawn = self._thread.submit(self._sampler.batch, step)
        batch = drawn.result()
        self._ready = None
        if step + 1 < last:
            self._ready = step + 1, self._thread.submit(self._sampler.batch, step + 1)
        return batch
