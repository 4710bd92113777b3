"""The cluster stays on this machine and leaves the driver's process as it was."""

import json
import os
import signal
import time
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.clusters import connect
from pipeline.run.clusters.address import scheduler_address
from pipeline.run.clusters.lifetime import TASKS
from pipeline.run.clusters.local import local_workers
from pipeline.run.clusters.pool import worker_count
from pipeline.run.forks.server import start_server
from tests.run.small_slides import children, fork_servers, gone, worker_processes

LISTENING = "0A"
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def listening(pids: set[int]) -> set[str]:
    """Local addresses (hex, as the kernel writes them) that processes listen on."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and columns[9] in inodes:
                found.add(columns[1].split(":")[0])
    return found


def page_text(link: str, within_s: float = 30.0) -> str:
    """What a page answers, as soon as it is there."""
    last = time.monotonic() + within_s
    while True:
        try:
            with urlopen(link, timeout=within_s) as answer:  # noqa: S310 - http
                return str(answer.read().decode())
        except HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND or time.monotonic() > last:
                raise
        time.sleep(0.1)


def test_an_own_cluster_listens_on_loopback_only_and_restores_the_environment() -> None:
    before = dict(os.environ)
    with connect(ClusterSettings(workers=2, dashboard=True)) as client:
        assert worker_count(client) == 2
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        assert "Status" in page_text(client.dashboard_link)
        threads = client.run(os.getenv, "OMP_NUM_THREADS")
        assert set(threads.values()) == {"1"}
        addresses = listening({os.getpid(), *children(os.getpid())})
    assert addresses
    assert addresses <= LOOPBACK
    assert dict(os.environ) == before


def test_workers_are_as_many_as_the_cores_carry() -> None:
    cores = len(os.sched_getaffinity(0))
    assert 1 <= local_workers(ClusterSettings()) <= cores
    assert local_workers(ClusterSettings(threads=cores)) == 1
    assert local_workers(ClusterSettings(workers=7)) == 7


def test_addresses_on_this_machine_and_tls_addresses_are_taken() -> None:
    assert scheduler_address("127.0.0.1:8786") == "tcp://127.0.0.1:8786"
    assert scheduler_address("tcp://localhost:8786") == "tcp://localhost:8786"
    assert scheduler_address("tls://cluster.example:8786") == "tls://cluster.example:8786"


@pytest.mark.parametrize("address", ["tcp://10.0.0.7:8786", "cluster.example:8786"])
def test_a_network_without_tls_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="without TLS"):
        scheduler_address(address)


def test_a_scheduler_file_is_read_and_held_to_the_same_rule(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": "tcp://127.0.0.1:8786"}))
    assert scheduler_address(str(file)) == "tcp://127.0.0.1:8786"
    file.write_text(json.dumps({"address": "tcp://10.0.0.7:8786"}))
    with pytest.raises(ConfigError, match="without TLS"):
        scheduler_address(str(file))
    file.write_text("no address")
    with pytest.raises(ConfigError, match="no scheduler file"):
        scheduler_address(str(file))


def mark_at_exit(path: str) -> None:
    """Run on a worker: leave a mark when its process ends."""
    import atexit

    atexit.register(Path(path).touch)


def test_a_worker_that_closes_runs_its_handlers_and_leaves_no_process(tmp_path: Path) -> None:
    mark, others = tmp_path / "ended", set(worker_processes())
    with connect(ClusterSettings(workers=1, dashboard=False)) as client:
        client.submit(mark_at_exit, str(mark)).result()
        workers = set(worker_processes()) - others
        assert workers
        assert not mark.exists()
    assert mark.exists()
    assert not workers & set(worker_processes())


def test_workers_know_what_the_environment_says_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    start_server()
    monkeypatch.setenv("KI67_TEST_LATER", "than the server that workers are forks of")
    with connect(ClusterSettings(workers=1, dashboard=False)) as client:
        seen = client.submit(said, "KI67_TEST_LATER").result()
    assert seen == "than the server that workers are forks of"


def said(name: str) -> str | None:
    """Run on a worker: what its environment says."""
    return os.environ.get(name)


def test_a_server_that_is_killed_costs_its_workers_and_no_task() -> None:
    with connect(ClusterSettings(workers=2, dashboard=False)) as client:
        before = set(worker_processes())
        (server,) = fork_servers()
        os.kill(server, signal.SIGKILL)
        later = {client.submit(new_worker, before, number).result() for number in range(4)}
        assert later <= set(worker_processes())
        assert gone(sorted(before), within_s=30)


def new_worker(old: set[int], _: int) -> int:
    """Run on a worker: its process, once it is none of the old ones, which end any moment."""
    while os.getpid() in old:
        time.sleep(0.05)
    return os.getpid()


def test_a_worker_imports_the_tasks_before_one_arrives() -> None:
    def imported() -> set[str]:
        import sys

        return set(TASKS) & set(sys.modules)

    with connect(ClusterSettings(workers=1, dashboard=False)) as client:
        give_up = time.monotonic() + 60
        while client.submit(imported, pure=False).result() != set(TASKS):
            assert time.monotonic() < give_up
            time.sleep(0.2)
