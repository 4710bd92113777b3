"""Workers that dask's commands start: same results whoever joins, leaves or dies meanwhile."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from pipeline.errors import ConfigError
from pipeline.run import driver
from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from tests.processes import PATIENCE_S, await_true, ended
from tests.run.command_cluster import CommandCluster, command_cluster
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[CommandCluster]:
    with command_cluster(tmp_path / "cluster", workers=1) as started:
        yield started


def at(cluster: CommandCluster, *pairs: str) -> tuple[str, ...]:
    return (f"cluster.scheduler={cluster.file}", f"cluster.worker_wait_s={PATIENCE_S:g}", *pairs)


@pytest.mark.slow
def test_workers_that_join_leave_and_die_on_the_way_change_nothing(
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    reference: Path,
    cluster: CommandCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One joins at the first region; later it gets SIGTERM, and of two more, one is retired."""
    # small regions end so fast that the next look might come after the last of them
    monkeypatch.setattr(driver, "_WORKERS_EVERY_S", 0.0)
    joined: dict[str, subprocess.Popen[str]] = {}
    seen: list[int] = []

    def join(client: Client, *names: str) -> None:
        joined.update((name, cluster.worker("--name", name)) for name in names)
        await_true(lambda: set(names) <= present(client))

    def disturb(event: Event) -> None:
        if event.kind == "workers":
            seen.append(event.done)
        if event.kind != "region_done":
            return
        moment = (event.slide_id.split("-")[0], event.done)
        with Client(str_address(cluster), set_as_default=False) as client:
            if moment == ("first", 1):
                join(client, "to-end")
            elif moment == ("first", 3):
                joined["to-end"].send_signal(signal.SIGTERM)
                ended(joined["to-end"])
                join(client, "to-retire", "to-kill")
            elif moment == ("second", 2):
                os.killpg(joined["to-kill"].pid, signal.SIGKILL)
                client.retire_workers(names=["to-retire"], close_workers=True)

    config = configure(*at(cluster, "prediction.region_tiles=1"))
    summary = run_archive([slides], tmp_path / "out", config, on_event=disturb)
    assert summary.exit_code == 0
    assert max(seen) == 3, "the window did not follow the workers"
    assert joined["to-kill"].wait(PATIENCE_S) == -signal.SIGKILL
    assert result_bytes(tmp_path / "out") == result_bytes(reference)


@pytest.mark.slow
def test_a_worker_with_several_threads_or_another_view_of_the_disk_is_refused(
    tmp_path: Path, slides: Path, configure: Configure
) -> None:
    blind = tmp_path / "blind.py"
    blind.write_text("import os\nos.access = lambda path, mode: False\n")
    with (
        command_cluster(tmp_path / "cluster") as cluster,
        Client(str_address(cluster), set_as_default=False) as client,
    ):
        cluster.worker("--preload", str(blind))
        client.wait_for_workers(1, timeout=PATIENCE_S)
        with pytest.raises(ConfigError, match=r"worker tcp://\S+ on \S+ does not see the slide"):
            run_archive([slides], tmp_path / "out", configure(*at(cluster)))
        cluster.worker("--nthreads", "3")
        client.wait_for_workers(2, timeout=PATIENCE_S)
        with pytest.raises(ConfigError, match=r"several tasks at once; use --nthreads 1"):
            run_archive([slides], tmp_path / "out", configure(*at(cluster)))


@pytest.mark.slow
def test_a_late_worker_of_another_version_is_sent_away_and_the_run_goes_on(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path, cluster: CommandCluster
) -> None:
    """The late one believes that it has another RESULTS_VERSION: a preloaded file says so."""
    other = tmp_path / "other.py"
    other.write_text("import pipeline\npipeline.RESULTS_VERSION = 999\n")
    told: list[str] = []

    def join(event: Event) -> None:
        if event.kind == "region_done" and event.done == 1 and event.slide_id.startswith("first"):
            with Client(str_address(cluster), set_as_default=False) as client:
                cluster.worker("--preload", str(other))
                client.wait_for_workers(2, timeout=PATIENCE_S)
        if event.kind == "notice":
            told.append(event.message)

    config = configure(*at(cluster, "prediction.region_tiles=1"))
    summary = run_archive([slides], tmp_path / "out", config, on_event=join)
    assert summary.exit_code == 0
    assert any("has results_version 999 (driver: " in line for line in told), told
    assert result_bytes(tmp_path / "out") == result_bytes(reference)
    with (
        command_cluster(tmp_path / "wrong") as wrong,
        Client(str_address(wrong), set_as_default=False) as client,
    ):
        wrong.worker("--preload", str(other))
        client.wait_for_workers(1, timeout=PATIENCE_S)
        with pytest.raises(ConfigError, match=r"worker tcp\S+ has results_version 999 \(driver: "):
            run_archive([slides], tmp_path / "refused", configure(*at(wrong)))


def present(client: Client) -> set[str]:
    return {one["name"] for one in client.scheduler_info(n_workers=-1)["workers"].values()}


def str_address(cluster: CommandCluster) -> str:
    from pipeline.run.clusters.address import scheduler_address

    return scheduler_address(str(cluster.file))
