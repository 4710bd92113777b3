"""A slide's content in one line: equal for copies, different for any member that changed."""

import hashlib
import shutil
from pathlib import Path

import pytest

from pipeline.errors import UnreadableSlideError
from pipeline.io import fingerprint as module
from pipeline.io.fingerprint import changed_members, fingerprint, members, slide_content


@pytest.fixture
def mirax(tmp_path: Path) -> Path:
    """Lay out a MIRAX slide's files."""
    folder = tmp_path / "m"
    folder.mkdir()
    for name in ("Slidedat.ini", "Index.dat", "Data0000.dat"):
        (folder / name).write_text(name)
    path = tmp_path / "m.mrxs"
    path.write_bytes(b"preview")
    return path


def test_a_copy_under_another_name_is_the_same_slide(tmp_path: Path) -> None:
    one, other = tmp_path / "a.svs", tmp_path / "b" / "c.svs"
    one.write_bytes(b"pixels")
    other.parent.mkdir()
    shutil.copy(one, other)
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one).startswith("sampled-sha256:")
    assert len(fingerprint(one)) == len("sampled-sha256:") + 64


@pytest.mark.parametrize("place", [0, 5, 11])
def test_one_changed_byte_of_a_small_file_changes_it(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(b"twelve bytes")
    before = fingerprint(path)
    changed = bytearray(b"twelve bytes")
    changed[place] ^= 1
    path.write_bytes(changed)
    assert fingerprint(path) != before


def test_a_large_file_is_sampled_at_both_ends_and_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_BYTES", 10)
    path = tmp_path / "a.svs"
    sound = bytearray(range(100))
    path.write_bytes(sound)
    before = fingerprint(path)
    for place, seen in ((0, True), (9, True), (20, False), (45, True), (54, True), (99, True)):
        changed = bytearray(sound)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert (fingerprint(path) != before) is seen
    path.write_bytes(sound + b"x")
    assert fingerprint(path) != before


def test_all_files_of_a_mirax_slide_count(mirax: Path) -> None:
    before = fingerprint(mirax)
    assert [path.name for path in members(mirax)] == [
        "m.mrxs",
        "Data0000.dat",
        "Index.dat",
        "Slidedat.ini",
    ]
    data = mirax.with_suffix("") / "Data0000.dat"
    data.write_text("DATA0000.dat")
    changed = fingerprint(mirax)
    assert changed != before
    data.unlink()
    assert fingerprint(mirax) not in (before, changed)


def test_a_renamed_mirax_slide_is_the_same(mirax: Path) -> None:
    before = fingerprint(mirax)
    mirax.with_suffix("").rename(mirax.with_name("n"))
    assert fingerprint(mirax.rename(mirax.with_name("n.mrxs"))) == before


def test_all_files_of_a_dicom_series_count(tmp_path: Path) -> None:
    def instance(name: str, series: bytes, body: bytes) -> Path:
        study, uid = b"1.2.3\0", series + b"\0" * (len(series) % 2)
        head = b"\x20\0\x0d\0UI" + bytes([len(study), 0]) + study
        head += b"\x20\0\x0e\0UI" + bytes([len(uid), 0]) + uid
        path = tmp_path / name
        path.write_bytes(bytes(128) + b"DICM" + head + body)
        return path

    first = instance("a.dcm", b"1.2.3.4", b"base")
    second = instance("b.dcm", b"1.2.3.4", b"level")
    instance("c.dcm", b"1.2.3.5", b"another slide")
    before = fingerprint(first)
    assert members(first) == [first, second]
    instance("c.dcm", b"1.2.3.5", b"changed")
    assert fingerprint(first) == before
    instance("b.dcm", b"1.2.3.4", b"LEVEL")
    assert fingerprint(first) != before


def test_the_pictures_that_a_vms_file_names_count_and_no_others(tmp_path: Path) -> None:
    path, picture = tmp_path / "renamed.vms", tmp_path / "pic.jpg"
    path.write_text("[Virtual Microscope Specimen]\nImageFile(0,0)=pic.jpg\nMapFile=gone.jpg\n")
    picture.write_bytes(b"picture")
    (tmp_path / "renamed-b.vms").write_text("another slide")
    assert members(path) == [path, picture]
    before = slide_content(path)
    (tmp_path / "renamed-b.vms").write_text("changed")
    assert slide_content(path) == before
    picture.write_bytes(b"swapped")
    after = slide_content(path)
    assert after.fingerprint != before.fingerprint
    assert changed_members(before.as_json(), after.as_json()) == ["pic.jpg changed"]


def test_a_missing_file_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSlideError, match=r"^gone\.svs: .*No such file") as caught:
        fingerprint(tmp_path / "gone.svs")
    assert str(tmp_path) not in str(caught.value)


def test_only_the_full_look_sees_a_byte_between_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_BYTES", 10)
    path = tmp_path / "a.svs"
    path.write_bytes(bytes(range(100)))
    sampled, full = slide_content(path), slide_content(path, full=True)
    assert full.sha256 == hashlib.sha256(bytes(range(100))).hexdigest()
    assert (sampled.sha256, sampled.fingerprint) == (None, full.fingerprint)
    path.write_bytes(bytes(range(20)) + b"x" + bytes(range(21, 100)))
    after = slide_content(path, full=True)
    assert after.fingerprint == full.fingerprint
    assert changed_members(full.as_json(), after.as_json()) == [""]
    assert changed_members(sampled.as_json(), after.as_json()) == []
    assert changed_members(full.as_json(), slide_content(path).as_json()) == []


def test_the_member_that_changed_is_named(mirax: Path) -> None:
    before = slide_content(mirax).as_json()
    folder = mirax.with_suffix("")
    (folder / "Data0000.dat").write_text("other")
    (folder / "Index.dat").unlink()
    (folder / "Data0001.dat").write_text("more")
    assert changed_members(before, slide_content(mirax).as_json()) == [
        "Data0000.dat changed",
        "Index.dat is missing",
        "Data0001.dat is new",
    ]


def test_the_full_sum_of_many_files_is_of_all_of_them(mirax: Path) -> None:
    before = slide_content(mirax, full=True).sha256
    assert slide_content(mirax).sha256 is None
    (mirax.with_suffix("") / "Index.dat").write_text("INDEX")
    assert slide_content(mirax, full=True).sha256 not in (before, None)
