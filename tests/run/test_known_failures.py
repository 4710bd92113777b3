"""A known failure is neither tried nor told again until something changes that may mend it."""

import json
import os
from pathlib import Path

import pytest

from pipeline.run.archive import run_archive
from pipeline.run.events import RunSummary
from pipeline.run.preflight.survey import survey
from pipeline.run.standing_batch import batch_standing
from pipeline.run.verifying import verify_archive
from tests.run.conftest import Configure
from tests.run.score_batches import box
from tests.run.small_slides import result_bytes, spoil_tile, stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network

SIZE = {"width": 1300, "height": 1100}


class Night:
    """One slide, run night after night into one folder."""

    def __init__(self, slide: Path, out: Path, configure: Configure, scheduler: str) -> None:
        self.slide, self.out = slide, out
        self.configure, self.scheduler = configure, scheduler

    def run(self, *pairs: str, retry_failed: bool = False) -> RunSummary:
        config = self.configure(self.scheduler, *pairs)
        return run_archive([self.slide], self.out, config, retry_failed=retry_failed)

    def ends(self, *pairs: str, retry_failed: bool = False) -> tuple[str, int]:
        summary = self.run(*pairs, retry_failed=retry_failed)
        return summary.records[0].outcome, summary.exit_code

    def foreseen(self, *pairs: str) -> str:
        config = self.configure(self.scheduler, *pairs)
        seen = survey([self.slide], config, out=self.out, trial=False)
        return seen.slides[0].verdict

    def verified(self) -> bool:
        return verify_archive(self.out, on_slide=lambda *_: None).holds


NEW, KNOWN, SCORED = ("failed", 1), ("failed_before", 0), ("scored", 0)
DONE = ("already_done", 0)


@pytest.fixture
def night(tmp_path: Path, configure: Configure, scheduler: str) -> Night:
    """The slide says no resolution: it fails every time."""
    slide = write_slide(tmp_path / "silent.tif", stained_tissue(5, **SIZE), mpp=None)
    return Night(slide, tmp_path / "out", configure, scheduler)


def test_a_known_failure_fails_one_night_only_and_is_tried_on_request(night: Night) -> None:
    assert [night.ends(), night.ends(), night.ends()] == [NEW, KNOWN, KNOWN]
    assert night.ends(retry_failed=True) == NEW
    assert night.ends() == KNOWN


def test_a_resolution_given_now_makes_it_tried_again(night: Night) -> None:
    assert [night.ends(), night.ends()] == [NEW, KNOWN]
    assert night.ends("slides.mpp=0.25") == SCORED


def test_another_reader_makes_it_tried_again(night: Night) -> None:
    assert [night.ends(), night.ends("slides.reader=tiffslide")] == [NEW, NEW]


def test_another_model_makes_it_tried_again(night: Night, tmp_path: Path) -> None:
    assert [night.ends(), night.ends()] == [NEW, KNOWN]
    other = save_tiny_network(tmp_path / "model")
    card = other / "card.json"
    card.write_text(card.read_text().replace('"halo_px": 32', '"halo_px": 64'))
    assert night.ends(f'prediction.model="{other}"') == NEW


def test_a_replaced_file_is_tried_again(night: Night) -> None:
    assert [night.ends(), night.ends()] == [NEW, KNOWN]
    write_slide(night.slide, stained_tissue(5, **SIZE))
    assert night.ends() == SCORED


def test_a_file_that_only_has_another_time_stays_known(night: Night) -> None:
    assert night.ends() == NEW
    os.utime(night.slide)
    assert night.ends() == KNOWN


def test_a_changed_limit_of_the_score_makes_it_tried_again(night: Night) -> None:
    spoil_tile(write_slide(night.slide, stained_tissue(3, **SIZE)), 8)
    assert [night.ends(), night.ends()] == [NEW, KNOWN]
    assert night.ends("slides.max_unreadable_pct=60") == SCORED


def test_a_slide_out_of_reach_is_tried_every_night(night: Night) -> None:
    away = night.slide.rename(night.slide.with_name("away.tif"))
    assert [night.ends(), night.ends()] == [NEW, NEW]
    away.rename(night.slide)
    assert night.ends("slides.mpp=0.25") == SCORED


def test_a_region_that_is_missing_is_known_until_it_is_drawn(night: Night, tmp_path: Path) -> None:
    write_slide(night.slide, stained_tissue(5, **SIZE))
    folder = tmp_path / "regions"
    folder.mkdir()
    asked = (f'roi.folder="{folder}"', "roi.required=true")
    assert [night.ends(*asked), night.ends(*asked)] == [NEW, KNOWN]
    assert night.ends() == SCORED


def test_a_damaged_score_of_a_finished_slide_is_made_again(night: Night) -> None:
    write_slide(night.slide, stained_tissue(5, **SIZE))
    assert night.ends() == SCORED
    score = next(night.out.glob("slides/*/score.json"))
    score.write_bytes(b"x" * score.stat().st_size)
    assert night.ends() == SCORED


def test_a_result_that_cannot_be_scored_again_stands_and_is_known_until_it_can(
    night: Night, tmp_path: Path
) -> None:
    write_slide(night.slide, stained_tissue(5, **SIZE))
    assert night.ends() == SCORED
    before = result_bytes(night.out)
    region = tmp_path / "regions" / "silent.geojson"
    region.parent.mkdir()
    region.write_text("{")
    asked = f'roi.folder="{region.parent}"'
    assert night.foreseen(asked) == "will fail"
    assert [night.ends(asked), night.ends(asked)] == [NEW, KNOWN]
    assert night.foreseen(asked) == "known failure"
    assert batch_standing(night.out).counts() == {"refused": 1}
    assert before.items() <= result_bytes(night.out).items()
    assert "ok" in (night.out / "slides.csv").read_text()
    assert night.verified()
    assert night.ends(asked, retry_failed=True) == NEW
    assert night.ends() == DONE
    assert night.ends(asked) == NEW  # whoever left it out and asks again wants to know
    region.write_text(json.dumps(box(200, 200, 1100, 900)))
    assert [night.ends(asked), night.ends(asked)] == [SCORED, DONE]
    assert not list(night.out.glob("slides/*/refused.json"))


def test_a_result_that_is_too_damaged_for_a_new_limit_stands_and_is_known(night: Night) -> None:
    spoil_tile(write_slide(night.slide, stained_tissue(3, **SIZE)), 8)
    lax, strict = "slides.max_unreadable_pct=60", "slides.max_unreadable_pct=0.1"
    assert night.ends(lax) == SCORED
    before = result_bytes(night.out)
    assert night.foreseen(strict) == "will fail"
    assert [night.ends(strict), night.ends(strict)] == [NEW, KNOWN]
    assert before.items() <= result_bytes(night.out).items()
    assert night.ends(lax) == DONE
