"""Slides end one after another: few are open at a time, and the first result comes early."""

from pathlib import Path

from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from tests.run.conftest import Configure
from tests.run.small_slides import stained_tissue, write_slide

SLIDES = 6


def test_two_workers_have_two_slides_open_at_most(
    tmp_path: Path, configure: Configure, scheduler: str
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(SLIDES):
        write_slide(archive / f"{number}.tif", stained_tissue(number, width=700, height=600))
    begun: list[str] = []
    ended: list[str] = []
    most = 0

    def watch(event: Event) -> None:
        nonlocal most
        if event.kind == "slide_preparing":
            begun.append(event.slide_id)
        if event.kind == "slide_done":
            ended.append(event.slide_id)
        most = max(most, len(begun) - len(ended))

    run_archive([archive], tmp_path / "out", configure(scheduler), on_event=watch)
    assert len(ended) == SLIDES
    assert begun == sorted(begun)
    assert most == 2
