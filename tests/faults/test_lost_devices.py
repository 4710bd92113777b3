"""A device that is lost or full is no slide's fault: real workers, torch's errors, no device."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from pipeline.config import RunConfig
from pipeline.errors import InterruptedRunError
from pipeline.run.archive import run_archive
from pipeline.run.clusters.address import scheduler_address
from pipeline.run.events import Event
from tests.processes import PATIENCE_S
from tests.run.command_cluster import CommandCluster, command_cluster
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes

pytestmark = pytest.mark.slow

FAULTY = Path(__file__).with_name("faulty_device.py")


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a file is a fault of the device."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("KI67_TEST_DEVICE", str(folder))
    return folder


@pytest.fixture
def on_device(configure: Configure, faults: Path) -> RunConfig:
    return configure(preloaded(), "cluster.retries=1")


def preloaded() -> str:
    return f"cluster.preload={json.dumps([str(FAULTY)])}"


def failures(out: Path) -> list[str]:
    """Slides that any file calls failed, or that were set aside."""
    scores = [json.loads(path.read_text()) for path in out.glob("slides/*/score.json")]
    aside = [path.stem for path in out.glob("quarantine/*")]
    return aside + [score["reason"] for score in scores if score["status"] == "failed"]


def test_a_worker_that_loses_its_device_is_replaced_and_the_bytes_are_the_same(
    tmp_path: Path, slides: Path, configure: Configure, faults: Path, reference: Path
) -> None:
    """Twice: as a tile is sent, and as a heatmap lands; it may be the same task."""
    for fault in ("lost", "lost-on-launch"):
        (faults / fault).touch()
    told: list[str] = []
    config = configure(preloaded(), "cluster.retries=2")
    summary = run_archive(
        [slides], tmp_path / "out", config, on_event=lambda event: told.append(event.message)
    )
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    assert len([line for line in told if "a worker lost its device in region" in line]) == 2
    assert not list(faults.iterdir())
    assert result_bytes(tmp_path / "out") == result_bytes(reference)


def test_a_device_that_stays_lost_stops_the_batch_and_no_slide_is_blamed(
    tmp_path: Path, slides: Path, on_device: RunConfig, faults: Path, reference: Path
) -> None:
    out = tmp_path / "out"
    (faults / "dead").touch()
    with pytest.raises(InterruptedRunError, match=r"region \d+ lost its device, 2 times") as caught:
        run_archive([slides], out, on_device)
    line = str(caught.value)
    assert "(cpu: CUDA error: an illegal memory access was encountered); no slide" in line
    assert "\n" not in line
    assert failures(out) == []
    (faults / "dead").unlink()
    summary = run_archive([slides], out, on_device)
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    assert result_bytes(out) == result_bytes(reference)


def test_a_full_device_fails_its_slide_for_this_night_only(
    tmp_path: Path, slides: Path, on_device: RunConfig, faults: Path, reference: Path
) -> None:
    out = tmp_path / "out"
    (faults / "full").touch()
    summary = run_archive([slides], out, on_device)
    assert sorted(record.outcome for record in summary.records) == ["failed", "scored"]
    assert summary.exit_code == 1
    (reason,) = failures(out)
    assert "cpu: no memory for one tile of " in reason
    assert "use a smaller prediction.tile_core_px or fewer workers on the device" in reason
    again = run_archive([slides], out, on_device)
    assert sorted(record.outcome for record in again.records) == ["already_done", "scored"]
    assert result_bytes(out) == result_bytes(reference)


@pytest.fixture
def cluster(tmp_path: Path, faults: Path) -> Iterator[CommandCluster]:
    """Workers that an administrator starts; the first has what stands for a device."""
    with command_cluster(tmp_path / "cluster") as started:
        yield started


def test_a_late_worker_without_the_device_is_sent_away_and_the_run_goes_on(
    tmp_path: Path, slides: Path, configure: Configure, cluster: CommandCluster
) -> None:
    told: list[str] = []
    address = scheduler_address(str(cluster.file))

    def join(event: Event) -> None:
        told.append(event.message)
        if event.kind == "region_done" and event.done == 1 and event.slide_id.startswith("first"):
            with Client(address, set_as_default=False) as client:
                cluster.worker(CUDA_VISIBLE_DEVICES="")
                client.wait_for_workers(2, timeout=PATIENCE_S)

    cluster.worker("--preload", str(FAULTY))
    config = configure(
        f"cluster.scheduler={cluster.file}",
        f"cluster.worker_wait_s={PATIENCE_S:g}",
        "prediction.region_tiles=1",
        "prediction.device=cuda",
    )
    summary = run_archive([slides], tmp_path / "out", config, on_event=join)
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    lines = [line for line in told if "torch sees no CUDA device" in line]
    assert len(lines) == 1
    assert lines[0].startswith("worker tcp://")
    assert lines[0].endswith("; it gets no more work")


def test_workers_without_the_device_alone_end_the_run_with_the_reason(
    tmp_path: Path, slides: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices are named that the workers then do not find."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    config = configure("prediction.device=cuda")
    with pytest.raises(InterruptedRunError, match=r"^worker tcp\S+ on .* no CUDA device.* run the"):
        run_archive([slides], tmp_path / "out", config)
    assert failures(tmp_path / "out") == []
