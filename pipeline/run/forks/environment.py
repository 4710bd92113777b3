"""The environment of every worker; nothing heavy is imported for it."""

import contextlib
import os
from collections.abc import Iterator

# Read once when a worker process starts; torch's own threads are set by the predictor.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TIFFSLIDE_NUM_DECODE_THREADS": "1",
    # a tile's buffers are kept for the next tile: handing them back each time (dask's own 64 KiB)
    # took 34 CPU seconds for a small slide, this took 29
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
    # tasks run in a thread, and other arenas than the first give large buffers back each time
    "MALLOC_ARENA_MAX": "1",
}


@contextlib.contextmanager
def environment_kept() -> Iterator[None]:
    """Undo what dask's nannies write into this process's environment for their children."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
