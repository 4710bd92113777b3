"""Free memory that the C library keeps goes back to the system when asked, and when idle."""

import sys
import tempfile
import time
from collections.abc import Iterator

import psutil
import pytest
from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.run.clusters import connect
from pipeline.run.memory import give_back
from pipeline.run.tries import _watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives memory back")

BLOCK_BYTES, BLOCKS = 2**16, 4000


def rss_mib() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


def hold_and_free() -> float:
    """Use 250 MiB as a task does and free all but the last block; return what the process keeps."""
    with tempfile.TemporaryFile(buffering=0) as stream:
        _watch.begin(stream, 60.0)
        try:
            blocks = [bytes(BLOCK_BYTES) + b"x" for _ in range(BLOCKS)]
            del blocks[:-1]
            return rss_mib()
        finally:
            _watch.end(stream)


def asked_to_give_back() -> tuple[float, float]:
    kept = hold_and_free()
    give_back()
    return kept, rss_mib()


@pytest.fixture
def client() -> Iterator[Client]:
    with connect(ClusterSettings(workers=1, dashboard=False)) as client:
        yield client


def test_a_worker_gives_free_memory_back_when_asked(client: Client) -> None:
    kept, left = client.submit(asked_to_give_back, pure=False).result(timeout=60)
    assert left < kept - 200


def test_an_idle_worker_gives_free_memory_back(client: Client) -> None:
    kept = client.submit(hold_and_free, pure=False).result(timeout=60)
    time.sleep(3.0)
    (left,) = client.run(rss_mib).values()
    assert left < kept - 200
