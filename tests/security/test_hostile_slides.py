"""A slide that lies about its size is one line, within bounded memory and time."""

import io
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import SlideError
from pipeline.io.slides import open_slide
from pipeline.io.tiff_limits import refuse_absurd
from tests.peak_memory import PEAK_KB
from tests.run.small_slides import stained_tissue, write_slide
from tests.security.hostile_tiffs import DEFLATE, JPEG, deflate_bomb, write_claim

MOST_BYTES = 1_200 << 20
"""Resident memory of a process that looked at all of them, libraries included."""

LOOK = (
    PEAK_KB
    + """
import json, sys
from pathlib import Path
from pipeline.errors import SlideError
from pipeline.io.plane import read_overview
from pipeline.io.resolution import resolve_resolution
from pipeline.io.slides import open_slide
found = {}
for name in sys.argv[1:]:
    for reader in ("auto", "tiffslide"):
        try:
            slide = open_slide(Path(name), reader)
            view = read_overview(slide, resolve_resolution(slide))
            words = f"read {view.rgb.shape[1]} x {view.rgb.shape[0]}"
        except SlideError as error:
            words = str(error)
        found[f"{Path(name).stem} {reader}"] = words
        found["kilobytes"] = peak_kb()
print(json.dumps(found))
"""
)


def _jpeg_of(side_px: int) -> bytes:
    """A small JPEG whose header is made to claim another size."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (120, 80, 50)).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = side_px.to_bytes(2, "big") * 2
    return bytes(content)


def _laughs(root: str) -> bytes:
    """Entities that unfold to 10^9 words."""
    lines = ["<!ENTITY a0 'ha'>"]
    lines += [f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10)]
    return (
        f"<?xml version='1.0'?><!DOCTYPE {root} [{''.join(lines)}]><{root}>&a9;</{root}>".encode()
    )


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("hostile")
    bomb, ome = deflate_bomb(1 << 30), _laughs("OME")
    claims = [
        write_claim(folder / "plane.tif", width=2**31, height=2**31, tile_px=8192),
        write_claim(folder / "sparse.tif", width=500_000, height=500_000, tile_px=2048),
        write_claim(folder / "line.tif", width=5_000, height=1),
        write_claim(folder / "tile.tif", width=100_000, height=100_000, tile_px=100_000),
        write_claim(folder / "pages.tif", width=512, height=512, pages=5_000),
        write_claim(
            folder / "deflate.tif", width=512, height=512, compression=DEFLATE, payload=bomb
        ),
        write_claim(
            folder / "jpeg.tif", width=512, height=512, compression=JPEG, payload=_jpeg_of(65_500)
        ),
        write_claim(folder / "ome.tif", width=512, height=512, description=ome),
        write_claim(
            folder / "philips.tif", width=512, height=512, description=_laughs("DataObject")
        ),
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *map(str, claims)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_memory_stays_bounded_whatever_is_claimed(looked_at: dict[str, str]) -> None:
    assert int(looked_at["kilobytes"]) << 10 < MOST_BYTES


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plane", "declares a level of 2147483648 x 2147483648 px"),
        ("sparse", "too large for an overview"),
        ("tile", "declares tiles of 100000 x 100000 px"),
        ("pages", "more than 2000 directories"),
    ],
)
def test_a_claim_that_no_slide_makes_is_refused_in_one_line(
    looked_at: dict[str, str], name: str, words: str
) -> None:
    assert words in looked_at[f"{name} auto"]
    for reader in ("auto", "tiffslide"):
        said = looked_at[f"{name} {reader}"]
        assert said.startswith(f"{name}.tif: ")
        assert "\n" not in said


@pytest.mark.parametrize("name", ["line", "deflate", "jpeg", "ome", "philips"])
def test_bombs_end_as_a_picture_of_the_declared_size_or_as_one_line(
    looked_at: dict[str, str], name: str
) -> None:
    for reader in ("auto", "tiffslide"):
        said = looked_at[f"{name} {reader}"]
        assert "\n" not in said
        assert said.startswith((f"{name}.tif: ", "read "))


def test_a_sound_slide_is_not_absurd(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "sound.tif", stained_tissue(1, width=600, height=500))
    refuse_absurd(path)
    assert open_slide(path).size == (600, 500)


def test_directories_that_go_in_a_circle_are_read_once(tmp_path: Path) -> None:
    path = write_claim(tmp_path / "circle.tif", width=512, height=512)
    content = bytearray(path.read_bytes())
    content[-8:] = content[8:16]
    path.write_bytes(content)
    refuse_absurd(path)


def test_files_that_are_cut_anywhere_are_refused_or_read_but_never_crash_the_check(
    tmp_path: Path,
) -> None:
    whole = write_claim(tmp_path / "whole.tif", width=512, height=512, pages=2).read_bytes()
    for length in range(1, len(whole), 7):
        path = tmp_path / "cut.tif"
        path.write_bytes(whole[:length])
        refuse_absurd(path)


def test_the_process_may_not_dump_its_core_with_pixels_in_it() -> None:
    from pipeline.run.preflight.isolated import in_children

    (limit,) = in_children([(resource.getrlimit, (resource.RLIMIT_CORE,))], workers=1, timeout_s=60)
    assert limit[0] == 0


def test_an_error_of_a_slide_is_a_slides_error(tmp_path: Path) -> None:
    path = write_claim(tmp_path / "tile.tif", width=100_000, height=100_000, tile_px=100_000)
    with pytest.raises(SlideError, match=r"^tile\.tif: declares tiles"):
        open_slide(path)
