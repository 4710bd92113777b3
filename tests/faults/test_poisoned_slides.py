"""A slide that kills or holds its workers is set aside alone; the others do not notice."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.io.cells import read_cells
from pipeline.run.archive import run_archive
from pipeline.run.clusters import local
from pipeline.run.events import Event, RunSummary, SlideRecord
from tests.run.conftest import Configure
from tests.run.small_slides import stained_tissue, write_slide

pytestmark = pytest.mark.slow

POISON = Path(__file__).with_name("poison.py")
TIMEOUT_S = 40
"""Far above what a good slide's first task takes; 15 were too few for a worker that got a fifth of
a core and compiled what it imports for the first time."""

WORKER_BYTES = 2**30


@dataclass(frozen=True)
class Poisoned:
    """A batch with a slide of every kind, run once."""

    folder: Path
    out: Path
    config: RunConfig
    summary: RunSummary
    events: list[Event]

    def of(self, name: str) -> SlideRecord:
        return next(record for record in self.summary.records if record.name == name)

    def quarantine(self, name: str) -> dict[str, object]:
        path = self.out / "quarantine" / f"{self.of(name).slide_id}.json"
        stored = json.loads(path.read_text())
        assert isinstance(stored, dict)
        return stored


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, configure: Configure) -> Poisoned:
    folder, out = tmp_path_factory.mktemp("poison"), tmp_path_factory.mktemp("out")
    good = write_slide(folder / "a-good.tif", stained_tissue(11, width=1300, height=1100))
    for name in ("crash", "freeze", "greedy", "hang", "stale", "z-good"):
        shutil.copy(good, folder / f"{name}.tif")
    stale = folder / "once"
    stale.touch()
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KI67_TEST_STALE", str(stale))
        patch.setattr(local, "MEMORY_LIMIT", 2 * WORKER_BYTES)
        config = configure(
            f"cluster.preload={json.dumps([str(POISON)])}",
            f"cluster.task_timeout_s={TIMEOUT_S}",
            "prediction.region_tiles=3",
        )
        summary = run_archive([folder], out, config, on_event=events.append)
    return Poisoned(folder, out, config, summary, events)


def slide_files(out: Path, name: str) -> dict[str, object]:
    """What the pixels alone decide of one slide's results; other files hold its name."""
    (folder,) = out.glob(f"slides/{name}-*")
    found: dict[str, object] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("heatmap.ome.zarr/*/c/**/*")
        if path.is_file()
    }
    for file in ("cells.parquet", "candidates.parquet"):
        cells = read_cells(folder / file)
        columns = (cells.x_l0, cells.y_l0, cells.score, cells.label)
        found[file] = [column.tolist() for column in columns]
    return found


def test_the_other_slides_of_the_batch_are_scored(batch: Poisoned) -> None:
    scored = [record.name for record in batch.summary.records if record.outcome == "scored"]
    assert scored == ["a-good.tif", "stale.tif", "z-good.tif"]
    assert batch.summary.exit_code == 1
    assert slide_files(batch.out, "a-good") == slide_files(batch.out, "z-good") != {}
    assert not (batch.out / ".running").exists()


def test_a_slide_that_crashes_the_library_is_named_with_the_signal_and_the_place(
    batch: Poisoned,
) -> None:
    reason = batch.of("crash.tif").score.reason or ""
    assert reason.startswith("crash.tif: region ")
    assert "3 times (Segmentation fault in string_at (" in reason
    record = batch.quarantine("crash.tif")
    assert (record["ending"], record["tried_again_by"]) == ("crashed", "--retry-failed")
    tries = record["tries"]
    assert isinstance(tries, list)
    assert len({entry["pid"] for entry in tries}) == 3


@pytest.mark.parametrize("name", ["hang.tif", "freeze.tif"])
def test_a_read_that_never_ends_is_cut_off_and_tried_once_more(batch: Poisoned, name: str) -> None:
    reason = batch.of(name).score.reason or ""
    assert f"did not end within {TIMEOUT_S} s in _harm (poison.py:" in reason
    assert "2 times" in reason
    record = batch.quarantine(name)
    assert (record["ending"], record["tried_again_by"]) == ("did not end", "the next run")


def test_a_slide_that_eats_the_memory_is_told_apart_with_what_to_do(batch: Poisoned) -> None:
    reason = batch.of("greedy.tif").score.reason or ""
    assert "ran out of memory, 3 times" in reason
    assert "of 1.00 GiB" in reason
    assert "fewer --workers" in reason


def test_a_stale_handle_is_tried_again_and_leaves_no_trace(batch: Poisoned) -> None:
    assert not (batch.folder / "once").exists()
    assert slide_files(batch.out, "stale") == slide_files(batch.out, "a-good")


def test_every_lost_worker_is_told_and_every_slide_set_aside_once(batch: Poisoned) -> None:
    aside = [event.slide_id for event in batch.events if event.kind == "quarantined"]
    assert sorted(aside) == sorted(
        batch.of(f"{name}.tif").slide_id for name in ("crash", "freeze", "greedy", "hang")
    )
    told = [event.message for event in batch.events if "it is tried alone" in event.message]
    assert len([line for line in told if line.startswith("crash.tif: a worker crashed in")]) >= 2


def test_the_next_run_tries_what_may_have_passed_and_gives_the_same_bytes(
    batch: Poisoned, tmp_path: Path, configure: Configure, scheduler: str
) -> None:
    out = shutil.copytree(batch.out, tmp_path / "out")
    healed = configure(scheduler)
    again = run_archive([batch.folder], out, healed)
    outcomes = {record.name: record.outcome for record in again.records}
    assert outcomes.pop("crash.tif") == "failed_before"
    assert {outcomes[f"{name}.tif"] for name in ("freeze", "greedy", "hang")} == {"scored"}
    assert again.exit_code == 0
    last = run_archive([batch.folder / "crash.tif"], out, healed, retry_failed=True)
    assert last.records[0].outcome == "scored"
    for name in ("crash", "freeze", "greedy", "hang"):
        assert slide_files(out, name) == slide_files(batch.out, "a-good")
    assert not any((out / "quarantine").iterdir())
