"""A slide that changed is computed again and the change is named, by every byte on request."""

import json
from pathlib import Path

import pytest

from pipeline.io.done import read_done
from pipeline.run.archive import run_archive
from pipeline.run.earlier import Earlier, why
from pipeline.run.events import Event, RunSummary
from tests.run.conftest import Configure
from tests.run.small_slides import stained_tissue, write_slide

FULL = "inputs.fingerprint=full"
BETWEEN = (1 << 20) + 5000
"""A byte that no sample of the slide below holds."""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A small slide with room after its pixels, so that samples leave bytes out."""
    path = write_slide(tmp_path / "one.tif", stained_tissue(5, width=1300, height=1100))
    with path.open("ab") as stream:
        stream.write(bytes(4 << 20))
    return path


class Archive:
    def __init__(self, slide: Path, out: Path, configure: Configure, scheduler: str) -> None:
        self.slide, self.out = slide, out
        self.configure, self.scheduler = configure, scheduler
        self.told: list[str] = []

    def run(self, *pairs: str) -> RunSummary:
        events: list[Event] = []
        config = self.configure(self.scheduler, *pairs)
        summary = run_archive([self.slide], self.out, config, on_event=events.append)
        self.told = [event.message for event in events if event.kind == "slide_started"]
        return summary

    def outcome(self, *pairs: str) -> str:
        return self.run(*pairs).records[0].outcome

    def change_a_byte(self) -> None:
        with self.slide.open("r+b") as stream:
            stream.seek(BETWEEN)
            stream.write(b"x")

    def made(self) -> dict[str, object]:
        mark = read_done(next(self.out.glob("slides/*")))
        assert mark is not None
        return dict(mark.made["members"][""])


@pytest.fixture
def archive(slide: Path, tmp_path: Path, configure: Configure, scheduler: str) -> Archive:
    return Archive(slide, tmp_path / "out", configure, scheduler)


def test_switching_to_every_byte_keeps_results_and_finds_changes_from_then_on(
    archive: Archive,
) -> None:
    assert archive.outcome() == "scored"
    archive.change_a_byte()
    assert archive.outcome() == "already_done"  # the samples do not hold it
    assert archive.made()["sha256"] is None
    assert archive.outcome(FULL) == "already_done"
    assert archive.made()["sha256"] is not None
    with archive.slide.open("r+b") as stream:
        stream.seek(BETWEEN + 1)
        stream.write(b"y")
    assert archive.outcome() == "already_done"
    assert archive.outcome(FULL) == "scored"
    assert archive.told == ["computed again: slide content changed"]
    assert archive.outcome(FULL) == "already_done"


def test_a_failed_slide_with_changed_bytes_is_tried_again(archive: Archive) -> None:
    content = b"no slide" + bytes(5 << 20)
    archive.slide.write_bytes(content)
    assert archive.outcome(FULL) == "failed"
    assert archive.outcome(FULL) == "failed_before"
    archive.change_a_byte()
    assert archive.outcome() == "failed_before"
    assert archive.outcome(FULL) == "failed"


def test_the_done_mark_says_which_run_made_it_and_how_much_it_was(archive: Archive) -> None:
    summary = archive.run()
    mark = json.loads(next(archive.out.glob("slides/*/done.json")).read_text())
    made = mark["made"]
    assert made["run_id"] == summary.run_id
    assert made["regions"] > 1
    assert made["pixels"] % 128**2 == 0
    assert made["path"] == str(archive.slide)


def test_the_file_of_many_that_changed_is_named() -> None:
    files = {"": {"size": 1, "sampled": "a"}, "Data0000.dat": {"size": 1, "sampled": "a"}}
    other = {**files, "Data0000.dat": {"size": 2, "sampled": "b"}}
    before = Earlier({"slide content": "1", "tissue.mpp": "8"}, files)
    key = {"slide content": "2", "tissue.mpp": "4"}
    assert why(before, key, other) == (
        "computed again: slide content (Data0000.dat changed), tissue.mpp changed"
    )
    assert why(before, {**key, "tissue.mpp": "8"}, {"": files[""]}) == (
        "computed again: slide content (Data0000.dat is missing) changed"
    )


def test_a_slide_of_many_missing_files_names_a_few() -> None:
    files = {name: {"size": 1, "sampled": "a"} for name in ("", "a", "b", "c", "d", "e")}
    told = why(Earlier({"slide content": "1"}, files), {"slide content": "2"}, {"": files[""]})
    assert told.endswith("(a is missing; b is missing; c is missing; 2 more) changed")
