"""Tables of manual scores are read strictly: what is wrong is one line with its remedy."""

import math
from pathlib import Path

import pytest

from pipeline.errors import AnnotationError
from pipeline.io.manual_scores import ManualForm, check_scale, read_manual_scores
from pipeline.io.score_join import JoinedScores, join_scores, read_slide_rows

SLIDES = """slide_id,name,status,index_pct,weights_sha256
a-1,a.svs,ok,12.5,w
b-1,b.svs,ok_with_flags,30,w
b-2,b.ndpi,ok,40,w
c-1,c.svs,too_few_cells,7,w
d-1,d.svs,failed,,w
e-1,e.svs,ok,55,w
"""


def written(folder: Path, text: str, name: str = "manual.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def joined(folder: Path, manual: str, **choice: tuple[str, ...]) -> JoinedScores:
    slides = read_slide_rows(written(folder, SLIDES, "slides.csv"))
    return join_scores(slides, read_manual_scores(written(folder, manual)), **choice)


def test_wide_and_long_tables_say_the_same(tmp_path: Path) -> None:
    wide = read_manual_scores(written(tmp_path, "slide,A,B\na,1,2\nb,3,\n"))
    long = read_manual_scores(
        written(tmp_path, "slide,reader,index\na,A,1\na,B,2\nb,A,3\nb,B,NA\n")
    )
    assert wide.scores == long.scores == {"A": {"a": 1.0, "b": 3.0}, "B": {"a": 2.0}}


def test_semicolons_tabs_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    expected = {"A": {"a": 12.5}}
    path = written(tmp_path, "\ufeffslide\tA\na\t12.5\n")
    assert read_manual_scores(path).scores == expected
    path = written(tmp_path, "slide;A\na;12,5\n")
    assert read_manual_scores(path, ManualForm(decimal_comma=True)).scores == expected


def test_slides_meet_by_id_name_or_stem(tmp_path: Path) -> None:
    found = joined(tmp_path, "slide,A\na,10\nb.ndpi,41\ne-1,50\n")
    assert [row.slide_id for row in found.rows] == ["a-1", "b-2", "e-1"]
    assert found.readers["A"].tolist() == [10.0, 41.0, 50.0]
    assert found.found_pct.tolist() == [12.5, 40.0, 55.0]


def test_whatever_takes_no_part_is_named_with_a_reason(tmp_path: Path) -> None:
    found = joined(tmp_path, "slide,A\na,10\na.svs,11\nb,3\nx,4\nc,5\nd,6\n")
    reasons = {entry.what: entry.reason for entry in found.left_out}
    assert reasons["a-1"] == "two lines of the manual table mean it: a and a.svs; keep one"
    assert reasons["b"] == "ambiguous: it can be b-1, b-2; write the slide_id"
    assert reasons["x"].startswith("no such slide in the pipeline's table")
    assert reasons["c-1"] == "status too_few_cells; --status too_few_cells takes such slides in"
    assert reasons["d-1"] == "status failed, no index"
    assert reasons["e-1"] == "no manual score"
    assert not found.rows


def test_a_slide_scored_twice_by_one_reader_is_left_out_for_that_reader(tmp_path: Path) -> None:
    found = joined(tmp_path, "slide,reader,index\na,A,10\na,A,12\na,B,11\n")
    assert next(entry.reason for entry in found.left_out) == "A scored it 2 times; keep one line"
    assert found.readers["B"].tolist() == [11.0]
    assert math.isnan(found.readers["A"][0])


def test_another_status_takes_part_on_request(tmp_path: Path) -> None:
    found = joined(tmp_path, "slide,A\nc,5\n", statuses=("too_few_cells",))
    assert [row.slide_id for row in found.rows] == ["c-1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide,A\na,12 %\n", r"manual.csv line 2 column 'A': '12 %' has a percent sign; write"),
        ("slide;A\na;12,5\n", r"'12,5' has a comma; write a decimal point, or give --decimal-com"),
        ("slide,A\na,12,5\n", r"line 2: 3 cells under 2 columns; write decimal points"),
        ("slide,A\na,110\n", r"'110' is outside 0 to 100"),
        ("slide,A\na,-1\n", r"'-1' is outside 0 to 100"),
        ("slide,A\na,10-15\n", r"'10-15' is no number; write one number, or leave the cell empty"),
        ("slide,A\na,inf\n", r"'inf' is no number"),
        ("case,A\na,1\n", r"no column slide_id or slide or .*; it has case, A"),
        ("slide,A,A\na,1,2\n", r"column 'A' stands twice; rename one"),
        ("slide\na\n", r"no column of indices beside the slides"),
        ("slide,reader\na,A\n", r"no column index_pct or index"),
        ("slide,reader,index\na,,3\n", r"a line names no reader"),
        ("slide,A\n", r"a header and no line below it"),
        ("", r"no header line"),
    ],
)
def test_a_wrong_table_is_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        read_manual_scores(written(tmp_path, text))


def test_a_column_of_remarks_is_left_out_by_naming_the_readers(tmp_path: Path) -> None:
    path = written(tmp_path, "slide,A,remark\na,1,looks folded\n")
    with pytest.raises(AnnotationError, match="'looks folded' is no number"):
        read_manual_scores(path)
    assert read_manual_scores(path, ManualForm(("A",))).scores == {"A": {"a": 1.0}}
    with pytest.raises(AnnotationError, match="no reader 'C'; it has A, remark"):
        read_manual_scores(path, ManualForm(("C",)))


def test_shares_taken_for_percent_are_refused_and_true_low_percents_are_not(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "slide,A\na,0.12\nb,0.3\nc,0.5\n")
    shares = read_manual_scores(path)
    with pytest.raises(AnnotationError, match="if these are shares from 0 to 1, give --fraction"):
        check_scale(shares, [12.0, 30.0, 50.0], fraction=False)
    check_scale(shares, [0.2, 0.4, 1.1], fraction=False)
    percent = read_manual_scores(path, ManualForm(fraction=True))
    assert percent.scores["A"] == pytest.approx({"a": 12.0, "b": 30.0, "c": 50.0})
    with pytest.raises(AnnotationError, match="leave --fraction out"):
        read_manual_scores(written(tmp_path, "slide,A\na,12\n"), ManualForm(fraction=True))


def test_a_table_that_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no slides.csv there; name the folder of"):
        read_slide_rows(tmp_path)
    path = written(tmp_path, SLIDES, "slides.csv")
    with pytest.raises(AnnotationError, match="no column hotspot_pct"):
        read_slide_rows(path, column="hotspot_pct")
