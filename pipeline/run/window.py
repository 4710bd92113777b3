"""How many regions are sent ahead of the workers."""

import math
from collections.abc import Callable
from time import monotonic

# a stop waits for what was sent, so no more than this much work lies ahead of a worker
AHEAD_S = 2.0
# one region under way and one to follow: less would leave workers idle
LEAST_PER_WORKER = 2


class Window:
    """Two regions per worker, more where they end so fast that messages would be what takes time.

    Parameters
    ----------
    most_per_worker
        Never more than this many per worker, however fast.
    clock
        Seconds that never go back.
    """

    def __init__(self, most_per_worker: int, *, clock: Callable[[], float] = monotonic) -> None:
        self._most = most_per_worker
        self._clock = clock
        self._told = clock()
        self._per_s = 0.0

    def size(self, workers: int) -> int:
        """Regions that may be under way on this many workers."""
        ahead = math.ceil(AHEAD_S * self._per_s / workers)
        return workers * min(self._most, max(LEAST_PER_WORKER, ahead))

    def room(self, workers: int, under_way: int) -> int:
        """Regions to send now.

        None until half the window is free, so that one message carries many, unless a worker idles.
        """
        size = self.size(workers)
        return size - under_way if 2 * under_way <= size or under_way < workers else 0

    def ended(self, regions: int) -> None:
        """Take up how many regions ended since the last call; the last seconds count most."""
        now = self._clock()
        passed, self._told = now - self._told, now
        if passed > 0:
            self._per_s += (1 - math.exp(-passed / AHEAD_S)) * (regions / passed - self._per_s)
