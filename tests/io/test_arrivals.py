"""Slides that may still be arriving: young ones wait for a second look, old ones do not."""

import os
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import InputSettings
from pipeline.io.arrivals import Look, look_at, unsettled
from pipeline.io.sources import discover

SETTLE = InputSettings(settle_s=30)


def put(path: Path, content: bytes = b"x", *, age_s: float = 3600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    changed = time.time() - age_s
    os.utime(path, (changed, changed))
    return path


def deferred(folder: Path) -> dict[str, str | None]:
    return {slide.relative: slide.deferred for slide in discover([folder], SETTLE)}


def test_an_old_file_is_settled_and_a_young_one_says_how_young(tmp_path: Path) -> None:
    put(tmp_path / "old.svs")
    put(tmp_path / "young.svs", age_s=3)
    found = deferred(tmp_path)
    assert found["old.svs"] is None
    assert "changed 3 s ago" in str(found["young.svs"])


def test_a_file_named_by_itself_is_taken_at_once(tmp_path: Path) -> None:
    path = put(tmp_path / "young.svs", age_s=1)
    assert [slide.deferred for slide in discover([path], SETTLE)] == [None]


def test_a_time_of_change_in_the_future_asks_for_a_second_look(tmp_path: Path) -> None:
    put(tmp_path / "ahead.svs", age_s=-1e6)
    assert "future" in str(deferred(tmp_path)["ahead.svs"])


def test_settle_0_takes_files_as_they_are(tmp_path: Path) -> None:
    put(tmp_path / "young.svs", age_s=0)
    (slide,) = discover([tmp_path], InputSettings(settle_s=0))
    assert slide.deferred is None


def test_a_growing_member_makes_its_mirax_slide_wait(tmp_path: Path) -> None:
    put(tmp_path / "m.mrxs")
    put(tmp_path / "m" / "Slidedat.ini")
    before = time.time() - 3600
    os.utime(tmp_path / "m", (before, before))
    assert deferred(tmp_path) == {"m.mrxs": None}
    put(tmp_path / "m" / "Data0001.dat", age_s=2)
    assert deferred(tmp_path)["m.mrxs"] is not None


def test_an_upload_beside_a_slide_belongs_to_it_while_it_grows(tmp_path: Path) -> None:
    put(tmp_path / "a.svs", b"")
    part = put(tmp_path / "a.svs.part", age_s=1)
    assert deferred(tmp_path)["a.svs"] is not None
    put(part, age_s=86400)  # left behind by a broken upload
    assert deferred(tmp_path) == {"a.svs": None}


def test_a_look_changes_with_size_time_and_members(tmp_path: Path) -> None:
    path = put(tmp_path / "m.mrxs")
    looks = [look_at(path)]
    put(tmp_path / "m" / "Data0000.dat")
    looks.append(look_at(path))
    put(tmp_path / "m" / "Data0000.dat", b"longer")
    looks.append(look_at(path))
    put(tmp_path / "m" / "Data0000.dat", b"longer", age_s=10)
    looks.append(look_at(path))
    assert len({look.mark for look in looks if look}) == 4
    assert look_at(path) == looks[-1]


def test_what_is_not_there_has_no_look(tmp_path: Path) -> None:
    assert look_at(tmp_path / "gone.svs") is None
    assert look_at(tmp_path / "gone.mrxs") is None


@given(age_s=st.floats(0, 1e9), settle_s=st.floats(0, 1e6))
def test_settled_means_older_than_the_limit(age_s: float, settle_s: float) -> None:
    now_s = 2e9
    reason = unsettled(Look("", now_s - age_s), settle_s=settle_s, now_s=now_s)
    changed_s = now_s - age_s
    assert (reason is None) == (settle_s <= 0 or now_s - changed_s >= settle_s)
