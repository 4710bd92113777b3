"""The board of a run: its sums are those of its slides, whatever the order of the events."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipeline.io.score import Counts, ScoreRecord, SlideIdentity
from pipeline.run.events import Event, Outcome, SlideName, SlideRecord, Work
from pipeline.run.watching.board import ProgressBoard
from pipeline.run.watching.metrics import exposition
from pipeline.run.watching.pace import SAMPLES, Pace
from pipeline.run.watching.page import throughput
from pipeline.run.watching.render import summary, table
from pipeline.run.watching.row import ENDED, SlideState

WORK = Work(tiles=4, cells=10, pixels=4_000_000, seconds={"read": 0.5, "forward": 2.0})
EVIL = "<script>alert(1)</script>"


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opening(number: int) -> Event:
    names = [SlideName(f"s{i}-{i:08x}", f"folder/s{i}.svs", f"/a/s{i}.svs") for i in range(number)]
    return Event("run_started", total=number, run_id="run", slides=tuple(names))


def ended(
    slide_id: str, status: str = "ok", *, outcome: Outcome = "scored", reason: str = ""
) -> Event:
    score = ScoreRecord.model_validate(
        {
            "slide": SlideIdentity(id=slide_id, name=f"{slide_id}.svs"),
            "status": status,
            "reason": reason or None,
            "counts": Counts() if status == "failed" else Counts(positive=3, negative=4, total=7),
        }
    )
    record = SlideRecord(slide_id, f"folder/{slide_id}.svs", outcome, score, 1.0)
    return Event("slide_done", slide_id, record=record)


def story(slide_id: str, regions: int, end: str) -> list[Event]:
    """All events of one slide, in their order."""
    told = [
        Event("slide_preparing", slide_id),
        Event("slide_started", slide_id, 0, regions, work=Work(seconds={"prepare": 1.0})),
    ]
    done = regions // 2 if end == "under way" else regions
    told += [Event("region_done", slide_id, i + 1, regions, work=WORK) for i in range(done)]
    if end == "under way":
        return told
    told.append(Event("slide_finalising", slide_id, regions, regions))
    outcome: Outcome = "failed" if end == "failed" else "scored"
    return [*told, ended(slide_id, end, outcome=outcome)]


@st.composite
def shuffled_stories(draw: st.DrawFn) -> tuple[list[list[Event]], list[Event]]:
    ends = st.sampled_from(["ok", "ok_with_flags", "failed", "under way"])
    plans = draw(st.lists(st.tuples(st.integers(1, 12), ends), min_size=1, max_size=6))
    stories = [story(f"s{i}-{i:08x}", regions, end) for i, (regions, end) in enumerate(plans)]
    turns = draw(st.permutations([i for i, told in enumerate(stories) for _ in told]))
    left = [iter(told) for told in stories]
    return stories, [next(left[turn]) for turn in turns]


def told(events: list[Event], slides: int) -> ProgressBoard:
    board = ProgressBoard(clock=Clock())
    for event in [opening(slides), *events]:
        board.tell(event)
    return board


@settings(max_examples=40, deadline=None)
@given(shuffled_stories())
def test_sums_are_those_of_the_slides_in_whatever_order_events_come(
    drawn: tuple[list[list[Event]], list[Event]],
) -> None:
    stories, events = drawn
    mixed, plain = (
        told(events, len(stories)),
        told([event for one in stories for event in one], len(stories)),
    )
    totals, rows = mixed.totals(), mixed.rows(limit=100)[0]
    assert rows == plain.rows(limit=100)[0]
    assert replace(totals, quiet_s=0) == replace(plain.totals(), quiet_s=0)
    assert totals.slides_total == len(stories)
    assert totals.regions_done == sum(row["regions_done"] for row in rows)
    assert totals.cells == sum(row["cells"] for row in rows)
    for state, number in totals.slides.items():
        assert number == sum(row["state"] == state for row in rows)
    regions = sum(event.kind == "region_done" for event in events)
    assert totals.pixels == regions * WORK.pixels
    assert totals.stage_seconds.get("read", 0) == pytest.approx(0.5 * regions)


@pytest.mark.parametrize(
    ("status", "outcome", "state"),
    [
        ("ok", "scored", "ok"),
        ("too_few_cells", "scored", "flagged"),
        ("no_tissue", "scored", "flagged"),
        ("failed", "failed", "failed"),
        ("failed", "failed_before", "failed_before"),
        ("ok", "already_done", "already_done"),
        ("deferred", "scored", "deferred"),
    ],
)
def test_every_end_has_its_state(status: str, outcome: Outcome, state: SlideState) -> None:
    board = told([ended("s0-00000000", status, outcome=outcome)], 1)
    assert board.totals().slides[state] == board.totals().slides_ended == 1
    assert state in ENDED


def test_a_quarantined_slide_that_fails_stays_quarantined() -> None:
    lost = Event("quarantined", "s0-00000000", message="killed two workers")
    board = told([lost, ended("s0-00000000", "failed", outcome="failed")], 1)
    assert board.totals().slides["quarantined"] == board.totals().slides_failed == 1


def test_nothing_is_under_way_after_a_scheduler_was_lost() -> None:
    board = told([*story("s0-00000000", 8, "under way"), opening(2)], 2)
    assert board.totals().slides["waiting"] == 2


def test_time_left_is_not_known_before_enough_regions_and_right_afterwards() -> None:
    clock = Clock()
    board = ProgressBoard(clock=clock)
    for event in (opening(2), *story("s0-00000000", 20, "under way")[:2]):
        board.tell(event)
    for done in range(10):
        assert (board.totals().eta_s is None) == (done < 8)
        clock.now += 3
        board.tell(Event("region_done", "s0-00000000", done + 1, 20, work=WORK))
    # ten regions left of this slide, twenty of the one without a plan
    assert board.totals().eta_s == pytest.approx(30 * 3)
    assert board.rows()[0][0]["eta_s"] == pytest.approx(10 * 3)
    clock.now += 600
    slower = board.totals().eta_s
    assert slower is not None
    assert slower > 1000  # a run that hangs is not nearly done


def test_memory_stays_bounded_over_five_thousand_slides_and_a_million_regions() -> None:
    clock, pace = Clock(), Pace()
    for _ in range(100_000):
        clock.now += 1
        pace.add(clock.now, pixels=1, cells=1)
    assert len(pace.history) <= SAMPLES + 1
    board = told([ended(f"s{i}-{i:08x}") for i in range(5000)], 5000)
    assert board.rows(offset=4990)[1] == 5000
    assert len(board.rows(offset=4990)[0]) == 10
    assert len(json.dumps(board.as_json())) < 20_000


def test_what_needs_a_person_comes_first_on_demand() -> None:
    bad = ended("s3-00000003", "failed", outcome="failed", reason="no resolution")
    board = told([ended("s1-00000001"), bad, ended("s2-00000002", "ok_with_flags")], 5)
    assert [row["state"] for row in board.rows("failed")[0]][:2] == ["failed", "flagged"]
    assert board.as_json()["failures"][0]["reason"] == "no resolution"
    assert [row["slide_id"] for row in board.rows(containing="S3-")[0]] == ["s3-00000003"]


def test_names_are_given_out_on_request_only() -> None:
    reason = "folder/s0-00000000.svs: cannot be read"
    failure = ended("s0-00000000", "failed", outcome="failed", reason=reason)
    for named in (False, True):
        board = ProgressBoard(named=named)
        board.tell(failure)
        row: dict[str, Any] = board.rows()[0][0]
        assert ("folder" in json.dumps(row)) == named


def test_a_name_that_is_markup_is_shown_as_text() -> None:
    board = ProgressBoard(named=True)
    board.tell(Event("run_started", run_id=EVIL, message=f"http://{EVIL}", slides=()))
    board.tell(ended(EVIL, "failed", outcome="failed", reason=EVIL))
    for page in (table(board.rows()[0], named=True), summary(board)):
        assert EVIL not in page
        assert "&lt;script&gt;" in page


def test_the_table_shows_the_pace_of_each_slide() -> None:
    clock = Clock()
    board = ProgressBoard(clock=clock)
    events = [opening(1), *story("s0-00000000", 8, "under way")]
    for event in events[:3]:
        board.tell(event)
    clock.now += 4
    for event in events[3:]:
        board.tell(event)

    page = table(board.rows()[0], named=True)

    assert page.count("<th ") + page.count("<th>") == page.count("<td")
    assert f'<td class="n">{4 * WORK.cells / 4:,.1f}</td>' in page


def test_throughput_is_what_was_done_over_its_time() -> None:
    pace = Pace()
    for second in range(1, 121):
        pace.add(float(second), pixels=2_000_000, cells=50)
    curve = throughput(pace.history)
    assert curve["mpx"] == pytest.approx([2.0] * len(curve["mpx"]))
    assert curve["cells"] == pytest.approx([50.0] * len(curve["cells"]))
    assert len(curve["minutes"]) >= 50


def test_metrics_are_sums_that_prometheus_reads_without_a_slide_in_them() -> None:
    board = told([*story("s0-00000000", 9, "ok"), *story("s1-00000001", 3, "failed")], 3)
    text = exposition(board).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    by_state = {s.labels["state"]: s.value for s in families["ki67_slides"].samples}
    assert by_state["ok"] == by_state["failed"] == by_state["waiting"] == 1
    assert families["ki67_regions"].samples[0].value == 12
    assert families["ki67_pixels"].samples[0].value == 12 * WORK.pixels
    assert families["ki67_slide_failures"].samples[0].value == 1
    assert all(name.startswith("ki67_") for name in families)
    labels = {label for family in families.values() for s in family.samples for label in s.labels}
    assert labels == {"state", "stage"}
    assert "s0" not in text
