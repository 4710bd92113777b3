"""One run in a process of its own: only loopback listens, and what slides say of people stays."""

import gzip
import json
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.io.conftest import writer
from tests.run.small_slides import stained_tissue
from tests.run.tiny_network import save_tiny_network

pytestmark = pytest.mark.slow

MAGENTA = (255, 0, 255)
NAMED = "ZZ-Jane-Doe-1955"
PAGES = ("/", "/status", "/info/main/workers.html", "/json/counts.json", "/metrics", "/slides")
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@dataclass
class Run:
    """A finished run, what it said and where it listened."""

    out: Path
    said: str
    heard: set[tuple[str, int]] = field(default_factory=set)
    pages: set[str] = field(default_factory=set)
    code: int | None = None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_network(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides whose every word and whose label and macro pictures are somebody's."""
    folder = tmp_path_factory.mktemp("private")
    tiffs: Any = writer("vendor_tiffs")
    before = tiffs.card, tiffs.SECRET
    try:
        tiffs.card = lambda width, height, _=None: np.full((height, width, 3), MAGENTA, "u1")
        tiffs.SECRET = NAMED
        image = stained_tissue(3, width=700, height=600)
        tiffs.write("aperio-label", folder / "aperio.svs", image)
        tiffs.write("leica", folder / "leica.scn", image)
    finally:
        tiffs.card, tiffs.SECRET = before
    size = ("--levels", "3", "--width", "800", "--height", "700")
    writer("mirax").write([str(folder / "mirax.mrxs"), "--slide-name", NAMED, *size])
    dicom: Any = writer("dicom_wsi")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(dicom.PHI, "PatientBirthDate")
        for name in dicom.PHI:
            patch.setitem(dicom.PHI, name, NAMED)
        for name in ("label", "overview"):
            patch.setattr(dicom.scene, name, lambda _: np.full((300, 300, 3), MAGENTA, "u1"))
        dicom.write([str(folder / "series"), "--phi", *size])
    return folder


def started(slides: Path, out: Path, model: Path, *more: str) -> Run:
    settings = {
        "prediction.model": json.dumps(str(model)),
        "prediction.tile_core_px": "256",
        "cluster.workers": "1",
        "inputs.settle_s": "0",
        "score.min_cells": "10",
    }
    pairs = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "pipeline", "-v", "run", str(slides), "--out", str(out)]
    log = out.with_suffix(".log")
    run = Run(out, "")
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, *pairs, *more], stdout=stream, stderr=subprocess.STDOUT, umask=0o077
        )
        try:
            ends = time.monotonic() + 240
            while process.poll() is None and time.monotonic() < ends:
                for address, port in listening(process.pid):
                    if (address, port) not in run.heard:
                        run.pages |= {page for page in PAGES if gives(address, port, page)}
                    run.heard.add((address, port))
                time.sleep(0.3)
        finally:
            process.kill()
            run.code = process.wait()
    run.said = log.read_text(errors="replace")
    return run


def listening(pid: int) -> Iterator[tuple[str, int]]:
    """Sockets that a process or one below it listens on."""
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.Error):
                for connection in process.net_connections("inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        yield connection.laddr.ip, connection.laddr.port


def gives(address: str, port: int, page: str) -> bool:
    """Whether a port answers a question for a page with one."""
    with suppress(OSError), socket.create_connection((address, port), timeout=1) as asking:
        asking.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
        asking.settimeout(1)
        answer = asking.recv(16)
        return answer.startswith(b"HTTP/") and b" 404" not in answer
    return False


@pytest.fixture(scope="module")
def run(slides: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return started(slides, tmp_path_factory.mktemp("run") / "out", model)


def test_the_run_scores_all_of_them(run: Run) -> None:
    assert run.code == 0, run.said
    assert len(list(run.out.glob("slides/*/done.json"))) == 4


def test_every_port_is_on_loopback(run: Run) -> None:
    assert run.heard
    assert {address for address, _ in run.heard} <= LOOPBACK
    assert run.pages, "the dashboard is on by default; else the next test shows nothing"


def test_without_a_dashboard_no_port_gives_a_page(
    slides: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("quiet") / "out"
    quiet = started(slides / "aperio.svs", out, model, "--set", "cluster.dashboard=false")
    assert quiet.code == 0, quiet.said
    assert quiet.heard
    assert quiet.pages == set()


def test_what_a_slide_says_of_people_is_in_no_output_and_no_log(run: Run, slides: Path) -> None:
    for name in ("aperio.svs", "leica.scn", "mirax/Slidedat.ini", "series/level0.dcm"):
        assert NAMED.encode() in (slides / name).read_bytes(), "the slides must hold the word"
    for path in run.out.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        assert NAMED.encode() not in content, path.name
    assert NAMED not in run.said


def test_no_folder_of_this_machine_is_in_the_log_or_a_result_that_is_handed_on(
    run: Run, slides: Path
) -> None:
    # which slide lay where stands in the ledger and in runs/ alone, which stay with the archive
    for path in run.out.glob("slides/*/*.json"):
        if path.name != "done.json":
            assert str(slides).encode() not in path.read_bytes(), path.name
    assert str(slides).encode() not in (run.out / "slides.csv").read_bytes()
    assert str(slides).encode() not in (run.out / "report.html").read_bytes()


def test_no_picture_shows_the_label_or_the_macro_image(run: Run) -> None:
    looked_at = 0
    for path in run.out.rglob("*"):
        if path.suffix in {".jpg", ".jpeg", ".png"}:
            pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
            magenta = (pixels[..., 0] > 220) & (pixels[..., 1] < 60) & (pixels[..., 2] > 220)
            assert not magenta.any(), path.name
            looked_at += 1
    assert looked_at >= 6


def test_the_users_mask_of_permissions_is_kept(run: Run) -> None:
    for path in run.out.rglob("*"):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
