"""Slides behind URLs: content and pixels of a local copy, one line a fault, no secret."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import InputSettings
from pipeline.errors import ConfigError, SlideChangedError, SlideError, UnreachableSlideError
from pipeline.io import objects
from pipeline.io.fingerprint import slide_content
from pipeline.io.open_slides import SlidePlace, close_idle, content_at, opened
from pipeline.io.patterns import Wanted
from pipeline.io.remote import is_url, shown, url_name
from pipeline.io.remote_listing import list_slides
from pipeline.io.remote_slides import look_up
from pipeline.io.slides import open_slide
from pipeline.io.sources import discover
from tests.io.remote_servers import BUCKET, WebServer, s3_server, web_server
from tests.run.small_slides import stained_tissue, write_slide

SECRET = "X-Amz-Signature=0ddba11"  # noqa: S105  that of nothing
HOSTILE = {
    "no bucket": "s3://no-such-bucket/a.svs",
    "no object": f"s3://{BUCKET}/gone.svs",
    "unknown host": f"https://me:0ddba11@no-such-host.invalid/a.svs?{SECRET}",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_server() as store:
        yield store


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "a.tif", stained_tissue(3))


@pytest.fixture
def inputs(tmp_path: Path) -> Iterator[InputSettings]:
    yield InputSettings(scratch=str(tmp_path / "scratch"))
    close_idle()


def _is_ranges(inputs: InputSettings) -> bool:
    """Whether nothing was copied."""
    return not Path(inputs.scratch or "").exists()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("s3://b/k.svs", True),
        ("HTTPS://host/a.svs", True),
        ("memory://a.svs", True),
        ("C:/slides/a.svs", False),
        ("/slides/a.svs", False),
        ("a::b.svs", False),
        ("s3:/b/k.svs", False),
    ],
)
def test_a_url_has_a_scheme_of_two_letters_and_two_slashes(text: str, answer: bool) -> None:
    assert is_url(text) is answer


@given(user=st.text("abcxyz0189", min_size=6), secret=st.text("ABCXYZ%@:", min_size=6, max_size=9))
def test_no_user_password_or_query_is_shown(user: str, secret: str) -> None:
    url = f"https://{user}:{secret}@host:8443/a/b.svs?k={secret}#{secret}"
    assert shown(url) == "https://host:8443/a/b.svs"
    assert shown(f"zip://a.svs::{url}") == "zip://a.svs::https://host:8443/a/b.svs"


@given(st.text(min_size=1, max_size=300))
def test_a_copy_is_named_by_one_safe_name_whatever_the_key_is(key: str) -> None:
    name = url_name(f"s3://bucket/{key}")
    assert name not in ("", ".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode("utf-8", "surrogatepass")) <= 255


@pytest.mark.parametrize("size", [1, 70_000, 5_000_000])
def test_the_fingerprint_is_that_of_a_copy(
    s3: Any, web: WebServer, tmp_path: Path, size: int
) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "a.svs").write_bytes(content)
    s3.pipe_file(f"{BUCKET}/f/{size}.svs", content)
    web.objects["a.svs"] = content
    local = slide_content(tmp_path / "a.svs", full=True)
    full = InputSettings(fingerprint="full")
    for url in (f"s3://{BUCKET}/f/{size}.svs", web.url("a.svs", f"?{SECRET}")):
        found = content_at(SlidePlace(url, full))
        assert found.fingerprint == local.fingerprint
        assert found.sha256 == local.sha256


def test_all_files_of_a_mirax_slide_belong_to_it(
    s3: Any, tmp_path: Path, inputs: InputSettings
) -> None:
    files = {"m.mrxs": b"preview", "m/Slidedat.ini": b"[]", "m/Data0000.dat": b"1" * 9}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        s3.pipe_file(f"{BUCKET}/mirax/{name}", content)
    url = f"s3://{BUCKET}/mirax/m.mrxs"
    local = slide_content(tmp_path / "m.mrxs")
    assert content_at(SlidePlace(url, inputs)).fingerprint == local.fingerprint
    assert [str(file.place) for file in look_up(url).files] == [
        "m.mrxs",
        "m/Data0000.dat",
        "m/Slidedat.ini",
    ]
    with pytest.raises(SlideError, match="Slidedat"), opened(SlidePlace(url, inputs), "auto"):
        pass
    s3.pipe_file(f"{BUCKET}/mirax/m/Data0000.dat", b"2" * 9)
    assert content_at(SlidePlace(url, inputs)).fingerprint != local.fingerprint


@pytest.mark.parametrize("reader", ["tiffslide", "openslide", "auto"])
def test_pixels_are_those_of_a_copy_and_tiffslide_copies_nothing(
    s3: Any, slide: Path, inputs: InputSettings, reader: str
) -> None:
    s3.put_file(str(slide), f"{BUCKET}/p/a.tif")
    local = open_slide(slide, reader)
    with opened(SlidePlace(f"s3://{BUCKET}/p/a.tif", inputs), reader) as remote:
        assert remote.reader == local.reader
        assert (remote.name, remote.vendor, remote.mpp) == (local.name, local.vendor, local.mpp)
        for level, box in ((0, (700, 300, 600, 500)), (1, (0, 0, 512, 384))):
            assert np.array_equal(remote.read(level, *box), local.read(level, *box))
    assert _is_ranges(inputs) is (reader == "tiffslide")
    local.close()


def test_a_small_part_of_a_slide_costs_a_small_part_of_its_bytes(
    web: WebServer, tmp_path: Path, inputs: InputSettings
) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (2048, 2048, 3), np.uint8)
    big = write_slide(tmp_path / "big.tif", noise)
    web.objects["big.tif"] = big.read_bytes()
    with opened(SlidePlace(web.url("big.tif"), inputs), "tiffslide") as remote:
        remote.read(0, 1000, 1000, 256, 256)
    assert web.sent_bytes < big.stat().st_size // 2


def test_a_server_without_ranges_is_copied_from_once(slide: Path, inputs: InputSettings) -> None:
    with web_server(ranges=False) as server:
        server.objects["a.tif"] = slide.read_bytes()
        place = SlidePlace(server.url("a.tif"), inputs)
        assert content_at(place).fingerprint == slide_content(slide).fingerprint
        with opened(place, "tiffslide") as remote:
            assert np.array_equal(
                remote.read(0, 500, 500, 300, 300), open_slide(slide).read(0, 500, 500, 300, 300)
            )
        assert server.copied == 1


@pytest.mark.parametrize("fault", list(HOSTILE))
def test_what_cannot_pass_is_told_at_once_in_one_line_without_secrets(
    s3: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAUSES_S", (60.0,))  # a retry would run into the time limit
    with pytest.raises(UnreachableSlideError) as caught:
        look_up(HOSTILE[fault])
    line = str(caught.value)
    assert "0ddba11" not in line
    assert "\n" not in line
    assert ";" in line  # the remedy
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("status", "word"), [(403, "access is denied"), (401, "access is denied"), (404, "no such")]
)
def test_a_refusal_of_a_signed_link_is_told_without_the_link(
    web: WebServer, status: int, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    web.objects["a.svs"] = b"x"
    web.refusals = [status]
    with caplog.at_level(0), pytest.raises(UnreachableSlideError, match=word) as caught:
        look_up(web.url("a.svs", f"?{SECRET}"))
    assert web.requests == 1
    assert "0ddba11" not in str(caught.value) + caplog.text


def test_missing_credentials_are_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    type(s3).clear_instance_cache()
    with pytest.raises(UnreachableSlideError, match="AWS_PROFILE"):
        look_up(f"s3://{BUCKET}/a.svs")
    type(s3).clear_instance_cache()


def test_faults_that_pass_are_waited_out(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PAUSES_S", (0.05, 0.1, 0.4, 0.8))
    web.objects["a.svs"] = b"0123456789"
    web.refusals = [503, 429]
    assert look_up(web.url("a.svs")).size == 10
    web.stop()
    back = threading.Timer(0.3, web.start)
    back.start()
    assert objects.read_range(web.url("a.svs"), 2, 5) == b"234"
    back.join()


def test_a_server_that_stays_away_is_told_after_the_last_try(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAUSES_S", (0.01, 0.01))
    url = web.url("a.svs", f"?{SECRET}")
    web.stop()
    with pytest.raises(UnreachableSlideError, match=r"a\.svs: the server cannot be reached"):
        look_up(url)


def test_a_fault_of_the_network_is_no_damage_of_the_slide(
    web: WebServer, slide: Path, inputs: InputSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAUSES_S", (0.01,))
    web.objects["a.tif"] = slide.read_bytes()
    with opened(SlidePlace(web.url("a.tif"), inputs), "tiffslide") as remote:
        remote.read(1, 0, 0, 64, 64)
        web.stop()
        with pytest.raises(UnreachableSlideError):
            remote.read(0, 0, 0, 2048, 1536)


@pytest.mark.parametrize("reader", ["tiffslide", "openslide"])
def test_an_object_that_was_written_since_it_was_planned_is_not_opened(
    s3: Any, slide: Path, inputs: InputSettings, reader: str
) -> None:
    url = f"s3://{BUCKET}/changing/a.tif"
    s3.put_file(str(slide), url)
    members = content_at(SlidePlace(url, inputs)).as_json()
    changed = bytearray(slide.read_bytes())
    changed[len(changed) // 2] ^= 1
    s3.pipe_file(url, bytes(changed))
    with (
        pytest.raises(SlideChangedError, match="run again"),
        opened(SlidePlace(url, inputs, members), reader),
    ):
        pass


def test_a_prefix_a_pattern_and_a_name_list_slides(s3: Any) -> None:
    names = (
        *("l/a.svs", "l/2026/b.tif", "l/2026/notes.txt", "l/.hidden/c.svs", "l/._a.svs"),
        *("l/m.mrxs", "l/m/Data0000.dat", "l/m/x.tif", "l/a_label.tif", "l/up.svs.part"),
    )
    for name in names:
        s3.pipe_file(f"{BUCKET}/{name}", b"x")
    listed = dict(list_slides(f"s3://{BUCKET}/l/", Wanted()))
    assert sorted(listed.values()) == ["2026/b.tif", "a.svs", "m.mrxs"]
    assert f"s3://{BUCKET}/l/2026/b.tif" in listed
    assert dict(list_slides(f"s3://{BUCKET}/l", Wanted())) == listed
    wanted = Wanted.of(InputSettings(exclude=("2026/",)))
    assert [below for _, below in list_slides(f"s3://{BUCKET}/l/", wanted)] == ["a.svs", "m.mrxs"]
    globbed = list_slides(f"s3://{BUCKET}/l/20*/*.tif", Wanted())
    assert [url for url, _ in globbed] == [f"s3://{BUCKET}/l/2026/b.tif"]
    assert list_slides(f"s3://{BUCKET}/l/none.svs", Wanted())[0][1] == f"{BUCKET}/l/none.svs"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"s3://{BUCKET}/empty-prefix/", "no slides there"),
        (f"https://no-such-host.invalid/x/?{SECRET}", r"x/: its host is not known"),
        ("s3://no-such-bucket/x/", "no such bucket"),
        ("nosuchkind://a/b/", "fsspec"),
        ("simplecache::s3://archive/a/", "copies of its own"),
    ],
)
def test_an_input_without_slides_is_refused_before_the_run(s3: Any, url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        list_slides(url, Wanted())


def test_a_folder_that_a_web_server_lists_is_searched(web: WebServer) -> None:
    web.objects |= {"x/a.svs": b"1", "x/deep/b.tif": b"2", "x/notes.txt": b"3", "y.svs": b"4"}
    listed = list_slides(web.url("x/"), Wanted())
    assert listed == [
        (web.url("x/a.svs"), "a.svs"),
        (web.url("x/deep/b.tif"), "deep/b.tif"),
    ]
    assert list_slides(web.url("x/**/*.tif"), Wanted()) == listed[1:]
    web.refusals = [200, 404]  # an empty list of the folder, then nothing of a folder in it
    with pytest.raises(ConfigError):
        list_slides(web.url("x/"), Wanted())


def test_a_file_url_is_the_local_file(tmp_path: Path) -> None:
    assert list_slides(f"file://{tmp_path}/a%20b.svs", Wanted()) == [
        (f"{tmp_path}/a b.svs", "a b.svs")
    ]


def test_the_endpoint_may_stand_in_the_configuration_of_fsspec(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.pipe_file(f"{BUCKET}/e/a.svs", b"12345")
    stated = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setitem(fsspec.config.conf, "s3", stated)
    type(s3).clear_instance_cache()
    assert look_up(f"s3://{BUCKET}/e/a.svs").size == 5
    type(s3).clear_instance_cache()


@pytest.mark.parametrize(
    ("library", "url"), [("s3fs", "s3://bucket/a.svs"), ("aiohttp", "https://host/a.svs")]
)
def test_a_missing_library_is_told_with_the_command_that_brings_it(library: str, url: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from pipeline.errors import ConfigError\n"
        "from pipeline.io.remote_slides import look_up\n"
        "try:\n"
        f"    look_up({url!r})\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert 'pip install "ki67-pipeline[remote]"' in done.stdout


@pytest.mark.parametrize("reader", ["auto", "tiffslide"])
def test_a_real_slide_is_read_as_its_copy(
    s3: Any, ki67_data: Path, inputs: InputSettings, reader: str
) -> None:
    path = ki67_data / "slides" / "CMU-1-Small-Region.svs"
    s3.put_file(str(path), f"{BUCKET}/real/a.svs")
    place = SlidePlace(f"s3://{BUCKET}/real/a.svs", inputs)
    local = open_slide(path, reader)
    with opened(place, reader) as remote:
        assert (remote.reader, remote.vendor, remote.mpp) == (local.reader, "aperio", local.mpp)
        box = (0, 100, 90, 400, 300)
        assert np.array_equal(remote.read(*box), local.read(*box))
    local.close()


def test_a_real_dicom_series_is_its_objects_of_one_series(
    s3: Any, ki67_data: Path, inputs: InputSettings, tmp_path: Path
) -> None:
    for name in ("small_dicom.dcm", "ezwsi_camelyon.dcm"):
        content = (ki67_data / "slides" / name).read_bytes()
        for copy in (name, f"more_{name}"):
            (tmp_path / copy).write_bytes(content)
            s3.pipe_file(f"{BUCKET}/dicom/{copy}", content)
    s3.pipe_file(f"{BUCKET}/dicom/notes.txt", b"no slide")
    local = slide_content(tmp_path / "small_dicom.dcm")
    remote = content_at(SlidePlace(f"s3://{BUCKET}/dicom/small_dicom.dcm", inputs))
    assert remote.fingerprint == local.fingerprint
    assert list(remote.members) == list(local.members) == ["", "more_small_dicom.dcm"]
    listed = [below for _, below in list_slides(f"s3://{BUCKET}/dicom/", Wanted())]
    local_slides = [slide.relative for slide in discover([tmp_path], InputSettings(settle_s=0))]
    assert listed == local_slides
