"""The last line of a run counts equal reasons together, without the names of slides."""

from pathlib import Path

from pipeline.cli.ending import ending
from pipeline.io.score import ScoreRecord, SlideIdentity
from pipeline.run.events import RunSummary, SlideRecord


def failed(name: str, reason: str) -> SlideRecord:
    score = ScoreRecord(slide=SlideIdentity(id=name, name=name), status="failed", reason=reason)
    return SlideRecord(name, name, "failed", score, 1.0)


def last_line(*records: SlideRecord) -> str:
    return ending(RunSummary("run", records), Path("OUT"))


def test_equal_reasons_of_different_slides_are_counted_together() -> None:
    line = last_line(
        failed("a/one.dcm", "one.dcm: OpenSlide cannot open it: Reading one.dcm: no flavour"),
        failed("b/two.dcm", "two.dcm: OpenSlide cannot open it: Reading two.dcm: no flavour"),
        failed("c.svs", "c.svs: truncated"),
    )
    assert "(2 x OpenSlide cannot open it: Reading: no flavour; 1 x truncated)" in line
    assert line.startswith("3 failed")
    assert line.endswith("results in OUT, start with OUT/report.html")
