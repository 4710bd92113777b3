"""Finding slides: one entry a slide, whatever it is made of and however it was named."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import InputSettings
from pipeline.errors import ConfigError
from pipeline.io.sources import discover, printable, slide_id


def files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*inputs: str | Path) -> list[str]:
    return [slide.relative for slide in discover(inputs)]


def test_a_folder_is_searched_whole_and_in_order(tmp_path: Path) -> None:
    files(tmp_path, "b.svs", "a/z.NDPI", "a/b/c.ome.tif", "notes.txt", "a/scan.jpg")
    assert found(tmp_path) == ["a/b/c.ome.tif", "a/z.NDPI", "b.svs"]


def test_hidden_files_and_resource_forks_are_left_out(tmp_path: Path) -> None:
    files(tmp_path, "a.svs", "._a.svs", ".b.svs", ".trash/c.svs")
    assert found(tmp_path) == ["a.svs"]
    assert found(str(tmp_path / "**" / "*")) == ["a.svs"]


def test_a_mirax_slide_is_one_entry_and_its_folder_is_skipped(tmp_path: Path) -> None:
    files(tmp_path, "m.mrxs", "m/Slidedat.ini", "m/Data0000.dat", "m/preview.tif", "n/x.tif")
    assert found(tmp_path) == ["m.mrxs", "n/x.tif"]


def test_what_only_looks_like_a_slide_is_listed(tmp_path: Path) -> None:
    (tmp_path / "notes.svs").write_text("dear colleague")
    (tmp_path / "empty.svs").touch()
    assert found(tmp_path) == ["empty.svs", "notes.svs"]


def test_a_named_file_that_does_not_exist_is_listed(tmp_path: Path) -> None:
    (slide,) = discover([tmp_path / "gone.svs"])
    assert (slide.relative, slide.path) == ("gone.svs", tmp_path / "gone.svs")


def test_a_named_file_needs_no_known_suffix(tmp_path: Path) -> None:
    files(tmp_path, "scan.bin")
    assert found(tmp_path / "scan.bin") == ["scan.bin"]


def test_a_folder_or_glob_without_slides_is_an_error_naming_it(tmp_path: Path) -> None:
    files(tmp_path, "notes.txt")
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        discover([tmp_path])
    with pytest.raises(ConfigError, match=r"\*\.svs"):
        discover([str(tmp_path / "*.svs")])
    with pytest.raises(ConfigError, match="no slides given"):
        discover([])


def test_globs_match_files_and_folders(tmp_path: Path) -> None:
    files(tmp_path, "a1.svs", "a2.svs", "b.svs", "a3.txt", "a4/c.svs")
    assert found(str(tmp_path / "a*")) == ["a1.svs", "a2.svs", "a4/c.svs"]


def test_a_name_with_brackets_is_itself_and_no_pattern(tmp_path: Path) -> None:
    files(tmp_path, "a[1].svs")
    assert found(str(tmp_path / "a[1].svs")) == ["a[1].svs"]


def test_a_slide_named_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "a.svs")
    monkeypatch.chdir(tmp_path)
    slides = discover(
        [tmp_path, "a.svs", tmp_path / "." / "a.svs", tmp_path / "x" / ".." / "a.svs"]
    )
    assert [slide.relative for slide in slides] == ["a.svs"]
    assert slides[0].path == tmp_path / "a.svs"


def test_linked_folders_are_not_followed_and_linked_files_are(tmp_path: Path) -> None:
    files(tmp_path / "store", "a.svs")
    files(tmp_path / "archive", "b.svs")
    (tmp_path / "archive" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "archive" / "loop").symlink_to(tmp_path / "archive")
    (tmp_path / "archive" / "c.svs").symlink_to(tmp_path / "store" / "a.svs")
    assert found(tmp_path / "archive") == ["b.svs", "c.svs"]


def test_equal_stems_never_collide(tmp_path: Path) -> None:
    files(tmp_path, "a.svs", "a.ndpi", "p/a.svs", "q/a.svs", "p/deep/a.svs", "q/deep/a.svs")
    slides = discover([tmp_path, tmp_path / "p", tmp_path / "q"])
    assert len({slide.slide_id for slide in slides}) == len(slides) == 6
    apart = discover([tmp_path / "p", tmp_path / "q"])
    assert [slide.relative for slide in apart] == [
        "p/a.svs",
        "p/deep/a.svs",
        "q/a.svs",
        "q/deep/a.svs",
    ]
    assert len({slide.slide_id for slide in apart}) == 4


def test_the_identifier_depends_on_the_relative_path_only(tmp_path: Path) -> None:
    files(tmp_path / "one", "p/a.svs")
    files(tmp_path / "two", "p/a.svs")
    assert discover([tmp_path / "one"])[0].slide_id == discover([tmp_path / "two"])[0].slide_id
    assert slide_id("p/a.svs") == "a-" + slide_id("p/a.svs")[-8:]
    assert slide_id("case 12/level0.dcm").startswith("case_12-")


@given(st.text(min_size=1, max_size=300).filter(lambda name: "/" not in name and "\0" not in name))
def test_any_name_makes_a_safe_identifier(name: str) -> None:
    made = slide_id(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*-[0-9a-f]{8}", made)
    assert len(made) <= 100
    assert made == slide_id(name)


def test_a_name_that_is_no_text_is_listed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.svs")
    files(tmp_path, name)
    (slide,) = discover([tmp_path])
    assert slide.slide_id.startswith("caf-") or slide.slide_id.startswith("caf_")


def test_a_dicom_name_without_dicom_inside_is_its_own_slide(tmp_path: Path) -> None:
    files(tmp_path, "s/1.dcm", "s/2.dcm")
    assert found(tmp_path) == ["s/1.dcm", "s/2.dcm"]
    assert found(tmp_path / "s" / "9.dcm") == ["9.dcm"]


def test_the_real_slides_are_all_found(ki67_data: Path) -> None:
    if not (ki67_data / "slides").is_dir():
        pytest.skip("no slides in the data folder")
    names = found(ki67_data / "slides")
    assert names == sorted(names)
    assert "SOURCE.md" not in names
    assert len(names) == len(set(names)) > 0


def wanted(
    folder: Path, *, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()
) -> list[str]:
    settings = InputSettings(include=include, exclude=exclude)
    return [slide.relative for slide in discover([folder], settings)]


def test_patterns_take_and_leave_slides_whatever_their_letters(tmp_path: Path) -> None:
    files(tmp_path, "a/KI67_1.svs", "a/he.svs", "b/x/ki67_2.SVS", "ki67.tif", "old/ki67.svs")
    ki67 = ["a/KI67_1.svs", "b/x/ki67_2.SVS", "ki67.tif", "old/ki67.svs"]
    assert wanted(tmp_path, include=("ki67*",)) == ki67
    assert wanted(tmp_path, include=("**/Ki67*",), exclude=("old/",)) == ki67[:3]
    assert wanted(tmp_path, include=("*/ki67*",)) == ["a/KI67_1.svs", "old/ki67.svs"]
    assert wanted(tmp_path, exclude=("**/x/**", "*.tif", "he.svs", "old/**")) == ["a/KI67_1.svs"]


def test_a_pattern_that_is_none_or_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    files(tmp_path, "a.svs")
    with pytest.raises(ConfigError, match=r"a\*\*b.*no pattern"):
        wanted(tmp_path, include=("a**b",))
    with pytest.raises(ConfigError, match="below an input"):
        wanted(tmp_path, exclude=("/a.svs",))
    with pytest.raises(ConfigError, match=r"1 left out by inputs\.include or inputs\.exclude"):
        wanted(tmp_path, include=("b*",))


def test_uploads_under_way_are_no_slides_and_are_named_when_nothing_else_is_there(
    tmp_path: Path,
) -> None:
    files(tmp_path, "a.svs.part", "b.ndpi.filepart", "~c.svs", "d.svs.crdownload", "e.svs~")
    with pytest.raises(ConfigError, match=r"4 still being copied \(a\.svs\.part\)"):
        discover([tmp_path])
    files(tmp_path, "f.svs")
    assert found(tmp_path) == ["f.svs"]


def test_pictures_beside_slides_are_no_slides(tmp_path: Path) -> None:
    files(tmp_path, "a.svs", "a_label.tif", "a-macro.tif", "a.svs.thumbnail.tif")
    files(tmp_path, "case/slide.ndpi", "case/label.tif", "case/macro.tiff", "b_label.tif")
    files(tmp_path, "alone/macro.tif")
    assert found(tmp_path) == ["a.svs", "alone/macro.tif", "b_label.tif", "case/slide.ndpi"]


def test_what_a_vms_file_names_belongs_to_it(tmp_path: Path) -> None:
    files(tmp_path, "one.tif", "map.tif", "other.tif")
    (tmp_path / "s.vms").write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile(0,0)=one.tif\nMapFile=map.tif\n"
    )
    assert found(tmp_path) == ["other.tif", "s.vms"]


def test_linked_folders_are_followed_on_request_and_a_loop_ends(tmp_path: Path) -> None:
    files(tmp_path / "store", "a.svs")
    files(tmp_path / "archive", "b.svs")
    (tmp_path / "archive" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "archive" / "loop").symlink_to(tmp_path / "archive")
    slides = discover([tmp_path / "archive"], InputSettings(follow_links=True))
    assert [slide.relative for slide in slides] == ["b.svs", "linked/a.svs"]


def test_the_same_content_under_two_names_is_two_slides(tmp_path: Path) -> None:
    files(tmp_path, "a.svs", "A.svs", "b.svs")
    slides = discover([tmp_path])
    assert len({slide.slide_id.lower() for slide in slides}) == len(slides) >= 2


def test_two_spellings_of_one_name_are_two_slides(tmp_path: Path) -> None:
    files(tmp_path, "Pr\u00e4.svs", "Pra\u0308.svs")
    slides = discover([tmp_path])
    assert len({slide.slide_id for slide in slides}) == len(slides)


@given(st.text(min_size=1, max_size=200).filter(lambda name: "\0" not in name))
def test_no_identifier_leads_out_of_a_folder(name: str) -> None:
    for relative in (name, f"../../{name}", f"/{name}", f"{name}/../..", f"{name}.dcm"):
        made = slide_id(relative)
        assert os.path.basename(made) == made  # noqa: PTH119 (a name, not a path)
        assert not made.startswith(".")
        assert made.isascii()


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_any_name_can_be_written_and_shown(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    assert shown.encode("utf-8").decode() == shown
    assert len(shown.splitlines()) <= 1
    assert not any(ord(letter) < 32 for letter in shown)
