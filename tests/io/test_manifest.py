"""A manifest names slides and what is special about each; what is wrong is said all at once."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import InputSettings
from pipeline.errors import ConfigError, ManifestError
from pipeline.io.manifest import MOST_ERRORS, read_manifest
from pipeline.io.sources import SlideInput, discover


def manifest(folder: Path, *lines: str, name: str = "slides.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def slides(path: Path, **settings: Any) -> list[SlideInput]:
    return discover([path], InputSettings(settle_s=0, **settings))


def errors(path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as told:
        discover([path])
    return told.value.lines


def test_a_row_says_its_slide_mpp_region_and_case(tmp_path: Path) -> None:
    path = manifest(tmp_path, "slide,mpp,roi,group", "p/a.svs,0.25,r/a.geojson,P 1", "b.svs,,,")
    first, second = sorted(slides(path), key=lambda slide: slide.relative, reverse=True)
    assert (first.location, first.relative) == (str(tmp_path / "p" / "a.svs"), "p/a.svs")
    assert (first.mpp, first.group) == (0.25, "P 1")
    assert first.roi == str(tmp_path / "r" / "a.geojson")
    assert (second.mpp, second.roi, second.group) == (None, None, "")


def test_only_the_slide_column_is_needed(tmp_path: Path) -> None:
    (slide,) = slides(manifest(tmp_path, "slide", "a.svs"))
    assert slide.group is None


def test_a_slide_has_the_same_identifier_through_its_folder(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.svs").write_bytes(b"x")
    (through_table,) = slides(manifest(tmp_path, "slide,group", "p/a.svs,C"))
    (through_folder,) = discover([tmp_path], InputSettings(settle_s=0))
    assert through_table.slide_id == through_folder.slide_id
    both = discover([tmp_path, tmp_path / "slides.csv"], InputSettings(settle_s=0))
    assert [(slide.slide_id, slide.group) for slide in both] == [(through_table.slide_id, "C")]


def test_an_identifier_of_a_slide_outside_does_not_depend_on_the_other_rows(
    tmp_path: Path,
) -> None:
    inner = tmp_path / "tables"
    inner.mkdir()
    (alone,) = slides(manifest(inner, "slide", "../x/1/a.svs"))
    two = slides(manifest(inner, "slide", "../x/1/a.svs", "../x/2/a.svs", "../y/1/a.svs"))
    assert alone.slide_id in {slide.slide_id for slide in two}
    assert len({slide.slide_id for slide in two}) == len({slide.relative for slide in two}) == 3


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_byte_order_marks_and_line_ends_of_spreadsheets(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    path = tmp_path / "slides.csv"
    lines = [["slide", "group"], ["Präparat.svs", "Müller"], ["", ""]]
    path.write_bytes("\r\n".join(separator.join(line) for line in lines).encode(encoding))
    (slide,) = slides(path)
    assert (slide.relative, slide.group) == ("Präparat.svs", "Müller")


def test_skip_and_include_leave_slides_out_with_a_reason(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "slide,include,skip",
        "a.svs,no,",
        "b.svs,yes,wrong block",
        "c.svs,,no",
        "d.svs,Yes,",
        "e.svs,,x",
    )
    found = {slide.relative: slide.skipped for slide in slides(path)}
    assert found == {
        "a.svs": "left out by the manifest (include: no)",
        "b.svs": "wrong block",
        "c.svs": None,
        "d.svs": None,
        "e.svs": "left out by the manifest",
    }


def test_an_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    (line,) = errors(manifest(tmp_path, "slide,grop", "a.svs,1"))
    assert line == "slides.csv line 1: unknown column 'grop'; did you mean group?"
    assert any("no column slide" in line for line in errors(manifest(tmp_path, "path", "a.svs")))


def test_every_bad_line_is_told_of_with_line_column_value_and_remedy(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "slide,mpp,include",
        "a.svs,fast,yes",
        ",0.25,yes",
        "c.svs,25,yes",
        "d.svs,0.25,perhaps",
        "e.svs,0,25,yes",
        "f.svs,0.25,yes",
    )
    told = errors(path)
    assert told[0].startswith("slides.csv line 2, column mpp: 'fast' is no number; write")
    assert told[1] == "slides.csv line 3, column slide: empty; name the slide or remove the line"
    assert "line 4, column mpp: '25' is outside 0.08 to 2.0" in told[2]
    assert "line 5, column include: 'perhaps' is neither yes nor no" in told[3]
    assert "line 6: 4 cells under 3 columns; write decimal points" in told[4]
    assert len(told) == 5


def test_the_number_of_told_errors_is_bounded(tmp_path: Path) -> None:
    told = errors(manifest(tmp_path, "slide,mpp", *(f"{n}.svs,x" for n in range(100))))
    assert len(told) == MOST_ERRORS + 1
    assert told[-1] == f"and {100 - MOST_ERRORS} more"


def test_line_numbers_count_the_lines_of_the_file(tmp_path: Path) -> None:
    path = manifest(tmp_path, "slide,skip", '"a.svs","two', 'lines"', "", "b.svs,,")
    told = errors(path)
    assert "line 2, column skip" in told[0]
    assert "line break" in told[0]
    assert "line 5: 3 cells" in told[1]


def test_an_empty_table_an_open_quote_and_a_wrong_encoding_are_one_line(tmp_path: Path) -> None:
    assert "empty; write a header" in errors(manifest(tmp_path, ""))[0]
    assert "a header and no slide below" in errors(manifest(tmp_path, "slide"))[0]
    assert "line 2: no CSV" in errors(manifest(tmp_path, "slide", '"a.svs'))[0]
    path = tmp_path / "slides.csv"
    path.write_bytes(b"slide\nM\xfcller.svs\n")
    assert "line 2: not UTF-8" in errors(path)[0]
    path.unlink()
    assert "cannot be read" in errors(path)[0]


def test_a_slide_twice_is_one_and_contradictions_are_told(tmp_path: Path) -> None:
    assert len(slides(manifest(tmp_path, "slide,group", "a.svs,1", "./a.svs,1"))) == 1
    (line,) = errors(manifest(tmp_path, "slide,group", "a.svs,1", "x/../a.svs,2"))
    assert "line 3, column slide: 'a.svs' stands in line 2 with other settings" in line
    one = manifest(tmp_path, "slide,group", "a.svs,1", name="one.csv")
    two = manifest(tmp_path, "slide,group", "a.svs,2", name="two.csv")
    with pytest.raises(ConfigError, match="two manifests say different things"):
        discover([one, two])


def test_a_missing_slide_or_region_is_no_fault_of_the_table(tmp_path: Path) -> None:
    (slide,) = slides(manifest(tmp_path, "slide,roi", "gone.svs,gone.geojson"))
    assert slide.seen is None


def test_patterns_choose_rows_too(tmp_path: Path) -> None:
    path = manifest(tmp_path, "slide", "a/1.svs", "b/2.svs")
    assert [slide.relative for slide in slides(path, include=("a/**",))] == ["a/1.svs"]


def test_a_url_is_a_location_of_its_own(tmp_path: Path) -> None:
    (slide,) = slides(manifest(tmp_path, "slide", "s3://archive/p/a.svs"))
    assert slide.is_remote
    assert slide.location == "s3://archive/p/a.svs"


def test_accents_are_found_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "Pra\u0308parat.svs").write_bytes(b"x")  # as a Mac writes it
    (slide,) = slides(manifest(tmp_path, "slide", "Pr\u00e4parat.svs"))
    assert slide.path.exists()
    (through_folder,) = discover([tmp_path], InputSettings(settle_s=0))
    assert slide.slide_id == through_folder.slide_id


@given(text=st.text(max_size=60))
def test_any_cell_gives_rows_or_a_message(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "slides.csv"
    quoted = text.encode("utf-8", "replace").decode().replace('"', '""')
    path.write_bytes(f'slide,mpp,group\n"{quoted}",0.5,"{quoted}"\n'.encode())
    try:
        locations = [row.location for row in read_manifest(path)]
    except ManifestError as error:
        lines = error.lines
    else:
        lines = ()
        assert len(locations) == 1
        assert Path(locations[0]).is_absolute() or "://" in locations[0]
    assert not any("\n" in line for line in lines)
