"""Who works: the workers that are there now, and on which of them each kind of task runs."""

from dataclasses import dataclass
from typing import Any

from distributed import Client

GPU = "GPU"
"""The resource that a worker with a device declares in a mixed pool."""

CPU = "CPU"
"""The resource that the worker without a device declares in a pool of ours."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses of the workers, those that declare a device apart.

    Attributes
    ----------
    mixed
        Workers of both sorts have been seen, so that regions wait for one with a device.
    declared
        A worker without a device has said that it is one, so that plans wait for it.
    """

    gpu: frozenset[str] = frozenset()
    cpu: frozenset[str] = frozenset()
    mixed: bool = False
    declared: bool = False

    @property
    def predicting(self) -> int:
        """Workers that regions are sent to."""
        return len(self.gpu) if self.mixed else len(self.gpu | self.cpu)

    def placement(self, kind: str) -> dict[str, Any]:
        """Keywords of ``Client.submit`` that bring a task to the right sort of worker.

        A pool of one sort gives none: only then does the scheduler hold back what is too much.
        """
        if not self.mixed:
            return {}
        if kind == "region":
            return {"resources": {GPU: 1}}
        if self.declared:
            return {"resources": {CPU: 1}}
        # a wish, no order: a worker that starts again has another address
        return {"workers": sorted(self.cpu), "allow_other_workers": True} if self.cpu else {}


class Roster:
    """Asks the scheduler who is there; what workers declare is asked only when others are."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pool = Pool()
        self._sorts_seen: set[str] = set()
        self._declared = False

    def look(self) -> Pool:
        """Return the pool as it is now, the last one known while the scheduler is away."""
        try:
            addresses = frozenset(self._client.nthreads())
            if addresses != self._pool.gpu | self._pool.cpu:
                self._pool = self._sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError):  # a broken connection: the driver finds out by its futures
            return self._pool
        return self._pool

    def _sorted(self, workers: dict[str, dict[str, Any]]) -> Pool:
        gpu = frozenset(name for name, one in workers.items() if one["resources"].get(GPU))
        cpu = frozenset(workers) - gpu
        # remembered: a device worker that died and comes back must not send regions elsewhere
        self._sorts_seen |= {sort for sort, found in (("gpu", gpu), ("cpu", cpu)) if found}
        self._declared |= any(workers[name]["resources"].get(CPU) for name in cpu)
        return Pool(gpu, cpu, mixed=len(self._sorts_seen) == 2, declared=self._declared)


def worker_count(client: Client) -> int:
    """Workers that are there now."""
    return len(client.nthreads())
