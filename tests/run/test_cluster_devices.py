"""Pools with devices: each worker sees its own, regions go to them, plans and results do not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Scheduler, SchedulerPlugin

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.archive import run_archive
from pipeline.run.clusters import connect
from pipeline.run.clusters.devices import find_devices, listed_devices, visible_devices
from pipeline.run.clusters.pool import Pool, Roster
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes

LISTING = """GPU 0: NVIDIA A100 (UUID: GPU-aaaa-1)
  MIG 1g.10gb Device 0: (UUID: MIG-bbbb-1)
  MIG 1g.10gb Device 1: (UUID: MIG-bbbb-2)
GPU 1: NVIDIA A100 (UUID: GPU-cccc-2)
"""


class Routes(SchedulerPlugin):
    """Remembers which worker did each task."""

    name = "routes"

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if finish == "memory" and isinstance(key, tuple):
            self.taken.append((key[0], kwargs["worker"]))


def routes(dask_scheduler: Scheduler) -> list[tuple[str, str]]:
    plugin = dask_scheduler.plugins["routes"]
    assert isinstance(plugin, Routes)
    return plugin.taken


@pytest.fixture(scope="module")
def device_pool() -> Iterator[Client]:
    """Two workers pinned to devices that are not there, and one without."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = "3,GPU-five"
    try:
        with connect(ClusterSettings(dashboard=False), device="cuda") as client:
            yield client
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def test_every_worker_process_sees_one_device_and_one_worker_none(device_pool: Client) -> None:
    seen = device_pool.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["", "3", "GPU-five"]
    assert set(device_pool.nthreads().values()) == {1}
    pool = Roster(device_pool).look()
    assert pool.mixed
    assert pool.predicting == 2
    assert {seen[address] for address in pool.gpu} == {"3", "GPU-five"}


@pytest.mark.slow
def test_regions_run_beside_a_device_and_everything_else_does_not(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path, device_pool: Client
) -> None:
    """The slides are predicted on the CPU; where tasks go is decided by what workers declare."""
    device_pool.register_plugin(Routes())
    address = f"cluster.scheduler={device_pool.scheduler_info(n_workers=0)['address']}"
    summary = run_archive([slides], tmp_path, configure(address))
    assert summary.exit_code == 0
    pool = Roster(device_pool).look()
    taken = device_pool.run_on_scheduler(routes)
    where: dict[str, set[str]] = {}
    for kind, worker in taken:
        where.setdefault(kind, set()).add(worker)
    assert where["region"] <= pool.gpu
    assert where["prepare"] | where["finalise"] <= pool.cpu
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_a_pool_of_one_sort_gives_no_orders() -> None:
    one = Pool(cpu=frozenset({"tcp://a"}))
    assert one.placement("region") == one.placement("prepare") == {}
    assert Pool(gpu=frozenset({"tcp://a", "tcp://b"})).predicting == 2


def test_regions_wait_for_a_device_worker_that_is_starting_again() -> None:
    left = Pool(cpu=frozenset({"tcp://a"}), mixed=True)
    assert left.predicting == 0
    assert left.placement("region") == {"resources": {"GPU": 1}}
    assert left.placement("prepare") == {"workers": ["tcp://a"], "allow_other_workers": True}
    ours = Pool(mixed=True, declared=True)
    assert ours.placement("finalise") == {"resources": {"CPU": 1}}


def test_parts_of_a_divided_device_stand_for_it() -> None:
    assert listed_devices(LISTING) == ["MIG-bbbb-1", "MIG-bbbb-2", "GPU-cccc-2"]
    assert listed_devices("No devices were found") == []


@pytest.mark.parametrize(
    ("text", "names"),
    [("0,2", ["0", "2"]), ("", []), ("-1", []), ("1,-1,2", ["1"]), (" GPU-x , 3", ["GPU-x", "3"])],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(text: str, names: list[str]) -> None:
    assert visible_devices(text) == names


def test_hidden_devices_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES='' hides them all") as caught:
        find_devices()
    assert json.dumps(str(caught.value)).count("\\n") == 0
