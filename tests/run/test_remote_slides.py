"""Whole runs over URLs: the bytes of a local run, whatever the network and the objects do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.run.archive import run_archive
from pipeline.run.events import Event
from tests.io.remote_servers import BUCKET, WebServer, web_server
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes, stained_tissue, write_slide

SIGNATURE = "X-Amz-Signature=0ddba11c0ffee"


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, s3: Any) -> Path:
    """Two slides, local and in the bucket."""
    folder = tmp_path_factory.mktemp("local")
    for name, seed in (("first.tif", 1), ("second.tif", 2)):
        path = write_slide(folder / name, stained_tissue(seed, width=900, height=800))
        s3.put_file(str(path), f"{BUCKET}/in/{name}")
    return folder


@pytest.fixture(scope="module")
def local_results(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, configure: Configure, s3_cluster: str
) -> Callable[[str], dict[str, bytes]]:
    """Results of a run over the local files, by reader."""
    made: dict[str, dict[str, bytes]] = {}

    def results(reader: str) -> dict[str, bytes]:
        if reader not in made:
            out = tmp_path_factory.mktemp(reader)
            run_archive([folder], out, configure(s3_cluster, f"slides.reader={json.dumps(reader)}"))
            made[reader] = result_bytes(out)
        return made[reader]

    return results


def copies_gone(scratch: Path, *, within_s: float = 20.0) -> bool:
    """Whether no copy of a slide is left by then."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        if not any(path.suffix == ".tif" for path in scratch.rglob("*")):
            return True
        time.sleep(0.1)
    return False


def at_first(kind: str, act: Callable[[], None]) -> Callable[[Event], None]:
    """Do something at the first event of a kind."""
    done: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == kind and not done:
            done.append(event.kind)
            act()

    return on_event


@pytest.mark.parametrize("reader", ["tiffslide", "openslide"])
def test_results_from_a_bucket_are_those_of_the_local_files(
    tmp_path: Path,
    configure: Configure,
    s3_cluster: str,
    local_results: Callable[[str], dict[str, bytes]],
    reader: str,
) -> None:
    scratch = tmp_path / "scratch"
    config = configure(
        s3_cluster,
        f"slides.reader={json.dumps(reader)}",
        f"inputs.scratch={json.dumps(str(scratch))}",
    )
    out = tmp_path / "out"
    summary = run_archive([f"s3://{BUCKET}/in/"], out, config)
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    found, expected = result_bytes(out), local_results(reader)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert scratch.exists() is (reader == "openslide")
    assert copies_gone(scratch)
    again = run_archive([f"s3://{BUCKET}/in/"], out, config)
    assert [record.outcome for record in again.records] == ["already_done", "already_done"]
    assert not any(path.suffix == ".tif" for path in scratch.rglob("*"))


def test_a_signed_link_leaves_no_trace_in_results_logs_and_messages(
    tmp_path: Path,
    configure: Configure,
    s3_cluster: str,
    web: WebServer,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    web.objects["first.tif"] = (folder / "first.tif").read_bytes()
    web.objects["broken.tif"] = b"II*\0 no slide"
    links = [
        web.url(name, f"?{SIGNATURE}") for name in ("first.tif", "broken.tif", "not-there.tif")
    ]
    told: list[str] = []
    scratch = f"inputs.scratch={json.dumps(str(tmp_path / 'scratch'))}"
    with caplog.at_level(0):
        summary = run_archive(
            links,
            tmp_path / "out",
            configure(s3_cluster, scratch),
            on_event=lambda e: told.append(str(e)),
        )
    outcomes = {record.name.rsplit("/")[-1]: record.outcome for record in summary.records}
    assert outcomes == {"first.tif": "scored", "broken.tif": "failed", "not-there.tif": "failed"}
    assert "0ddba11" not in caplog.text + "".join(told) + str(summary)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"0ddba11" not in path.read_bytes(), path
    signed_again = [link.replace("0ddba11", "5ca1ab1e") for link in links[:1]]
    again = run_archive(signed_again, tmp_path / "out", configure(s3_cluster, scratch))
    assert [record.outcome for record in again.records] == ["already_done"]


@pytest.mark.parametrize("reader", ["tiffslide", "openslide"])
def test_an_object_replaced_during_the_run_is_scored_as_what_it_is_now(
    tmp_path: Path,
    configure: Configure,
    s3_cluster: str,
    s3: Any,
    folder: Path,
    local_results: Callable[[str], dict[str, bytes]],
    reader: str,
) -> None:
    key = f"{BUCKET}/replaced-{reader}/first.tif"
    s3.put_file(str(folder / "second.tif"), key)
    scratch = f"inputs.scratch={json.dumps(str(tmp_path / 'scratch'))}"
    summary = run_archive(
        [f"s3://{BUCKET}/replaced-{reader}/"],
        tmp_path / "out",
        configure(s3_cluster, scratch, f"slides.reader={json.dumps(reader)}"),
        on_event=at_first("region_done", lambda: s3.put_file(str(folder / "first.tif"), key)),
    )
    assert [record.outcome for record in summary.records] == ["scored"]
    found, expected = result_bytes(tmp_path / "out"), local_results(reader)
    assert found
    assert [name for name in found if found[name] != expected[name]] == []
    assert copies_gone(tmp_path / "scratch")


def test_an_object_that_vanishes_fails_its_slide_and_is_tried_again(
    tmp_path: Path, configure: Configure, s3_cluster: str, s3: Any, folder: Path
) -> None:
    for name in ("first.tif", "second.tif"):
        s3.put_file(str(folder / name), f"{BUCKET}/vanishing/{name}")
    lost = f"{BUCKET}/vanishing/first.tif"
    config = configure(s3_cluster, 'slides.reader="tiffslide"')
    where = [f"s3://{BUCKET}/vanishing/first.tif", f"s3://{BUCKET}/vanishing/second.tif"]
    summary = run_archive(
        where,
        tmp_path / "out",
        config,
        on_event=at_first("slide_started", lambda: s3.rm_file(lost)),
    )
    outcomes = {record.name[-10:]: record for record in summary.records}
    assert outcomes["/first.tif"].outcome == "failed"
    assert "no such object" in str(outcomes["/first.tif"].score.reason)
    assert outcomes["second.tif"].outcome == "scored"
    s3.put_file(str(folder / "first.tif"), lost)
    again = run_archive(where, tmp_path / "out", config)
    assert [record.outcome for record in again.records] == ["scored", "already_done"]


def test_a_server_that_dies_and_comes_back_costs_time_only(
    tmp_path: Path,
    configure: Configure,
    s3_cluster: str,
    web: WebServer,
    folder: Path,
    local_results: Callable[[str], dict[str, bytes]],
) -> None:
    web.objects["in/first.tif"] = (folder / "first.tif").read_bytes()
    back = threading.Timer(1.5, web.start)

    def die() -> None:
        web.stop()
        back.start()

    summary = run_archive(
        [web.url("in/")],
        tmp_path / "out",
        configure(s3_cluster, 'slides.reader="tiffslide"'),
        on_event=at_first("region_done", die),
    )
    back.join()
    assert [record.outcome for record in summary.records] == ["scored"]
    found, expected = result_bytes(tmp_path / "out"), local_results("tiffslide")
    assert [name for name in found if found[name] != expected[name]] == []


def test_a_slide_too_large_for_the_scratch_folder_fails_alone(
    tmp_path: Path, configure: Configure, s3_cluster: str, s3: Any, folder: Path
) -> None:
    small = write_slide(tmp_path / "small.tif", stained_tissue(4, width=600, height=500))
    s3.put_file(str(small), f"{BUCKET}/sizes/small.tif")
    s3.put_file(str(folder / "first.tif"), f"{BUCKET}/sizes/large.tif")
    scratch = tmp_path / "scratch"
    cap_gb = (small.stat().st_size + 1000) / 1e9
    summary = run_archive(
        [f"s3://{BUCKET}/sizes/"],
        tmp_path / "out",
        configure(
            s3_cluster, f"inputs.scratch={json.dumps(str(scratch))}", f"inputs.scratch_gb={cap_gb}"
        ),
    )
    outcomes = {record.name: record for record in summary.records}
    assert outcomes["small.tif"].outcome == "scored"
    assert outcomes["large.tif"].outcome == "failed"
    reason = str(outcomes["large.tif"].score.reason)
    assert "inputs.scratch_gb" in reason
    assert "\n" not in reason
    assert copies_gone(scratch)
