"""A run that is asked to stop, at any stage, ends in order, leaves nobody behind, and goes on."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.run.archive import run_archive
from tests.faults.ki67 import begin, wait_for
from tests.processes import ended
from tests.run.conftest import Configure
from tests.run.small_slides import children, gone, result_bytes

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Stop:
    """A way to stop a run, and when."""

    mark: str
    send: Callable[[int, int], None]
    number: signal.Signals


STOPS = {
    "SIGTERM while a slide is prepared": Stop("*.prepare.txt", os.kill, signal.SIGTERM),
    "SIGINT between regions": Stop("*.region-*.txt", os.kill, signal.SIGINT),
    "SIGTERM to the whole group between regions": Stop("*.region-*.txt", os.killpg, signal.SIGTERM),
    "SIGINT to the whole group while a slide is finalised": Stop(
        "*.finalise.txt", os.killpg, signal.SIGINT
    ),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_stopped_run_ends_in_order_leaves_no_process_and_goes_on_to_the_same_bytes(
    stop: Stop,
    tmp_path: Path,
    slides: Path,
    configure: Configure,
    scheduler: str,
    reference: Path,
) -> None:
    run = begin(slides, tmp_path, configure().prediction.model)
    wait_for(run, tmp_path, f".running/{stop.mark}")
    below = children(run.pid)
    stop.send(run.pid, stop.number)
    begun = time.monotonic()
    code, errors = ended(run)
    assert code == 75, errors
    assert time.monotonic() - begun < 120
    assert errors.splitlines()[-1].startswith("ki67: error: stopped on request; run the same")
    assert gone(below, within_s=60)
    assert not {".lock", ".running"} & {path.name for path in tmp_path.iterdir()}
    again = run_archive([slides], tmp_path, configure(scheduler, "prediction.region_tiles=1"))
    assert again.exit_code == 0
    assert result_bytes(tmp_path) == result_bytes(reference)


def test_a_second_signal_ends_at_once_and_the_next_run_takes_the_folder_over(
    tmp_path: Path, slides: Path, configure: Configure, scheduler: str, reference: Path
) -> None:
    poison = Path(__file__).with_name("poison.py")
    hanging = tmp_path / "hang.tif"
    hanging.hardlink_to(slides / "first.tif")
    out = tmp_path / "out"
    settings = (f"cluster.preload=['{poison}']", "cluster.grace_s=600")
    run = begin(hanging, out, configure().prediction.model, *settings)
    wait_for(run, out, ".running/*.region-*.txt")
    below = children(run.pid)
    run.send_signal(signal.SIGTERM)
    assert run.stderr is not None
    while "once more to stop at once" not in run.stderr.readline():
        assert run.poll() is None  # the read hangs, and has its ten minutes
    run.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert ended(run)[0] == 75
    assert time.monotonic() - begun < 60
    assert gone(below, within_s=60)
    assert (out / ".lock").exists()  # nobody had time to remove it
    shutil.rmtree(next(out.glob("slides/hang-*")))
    assert run_archive([slides], out, configure(scheduler)).exit_code == 0
    assert result_bytes(out) == result_bytes(reference)


def test_what_does_not_end_in_time_is_given_up_after_the_grace(
    tmp_path: Path, slides: Path, configure: Configure
) -> None:
    poison = Path(__file__).with_name("poison.py")
    hanging = tmp_path / "hang.tif"
    hanging.hardlink_to(slides / "first.tif")
    model = configure().prediction.model
    settings = (f"cluster.preload=['{poison}']", "cluster.grace_s=2")
    run = begin(hanging, tmp_path / "out", model, *settings)
    wait_for(run, tmp_path / "out", ".running/*.region-*.txt")
    below = children(run.pid)
    begun = time.monotonic()
    run.send_signal(signal.SIGINT)
    code, errors = ended(run)
    assert code == 75, errors
    assert 2 <= time.monotonic() - begun < 120
    assert gone(below, within_s=60)
