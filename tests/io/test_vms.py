"""A VMS slide is the text and the pictures that it names, whatever they are called."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import InputSettings
from pipeline.errors import UnreadableSlideError
from pipeline.io.fingerprint import slide_content
from pipeline.io.open_slides import SlidePlace, close_idle, content_at, opened
from pipeline.io.remote_slides import look_up
from pipeline.io.slides import open_slide
from tests.io.remote_servers import web_server

PICTURES = {"pic.jpg": (256, 192), "map.jpg": (64, 48), "macro.jpg": (64, 48)}
INDEX = """[Virtual Microscope Specimen]
NoLayers=1
NoJpegColumns=1
NoJpegRows=1
ImageFile=pic.jpg
MapFile=map.jpg
MacroImage=macro.jpg
OptimisationFile=renamed.opt
PhysicalWidth=64000
PhysicalHeight=48000
SourceLens=40
"""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A slide of one picture, renamed, beside another whose name begins like its own."""
    folder = tmp_path / "vms"
    folder.mkdir()
    for number, (name, (width, height)) in enumerate(PICTURES.items()):
        noise = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(folder / name, quality=90, restart_marker_blocks=4)
    (folder / "renamed-2.vms").write_text(INDEX.replace("pic.jpg", "renamed-2.jpg"))
    (folder / "renamed-2.jpg").write_bytes((folder / "pic.jpg").read_bytes())
    path = folder / "renamed.vms"
    path.write_text(INDEX, newline="\r\n")
    return path


def test_it_opens_without_the_list_that_only_saves_time(slide: Path) -> None:
    reader = open_slide(slide)
    assert (reader.vendor, reader.size, reader.mpp) == ("hamamatsu", (256, 192), (0.25, 0.25))
    reader.close()


@pytest.mark.parametrize("name", list(PICTURES))
def test_a_vms_slide_that_lacks_a_picture_is_refused_naming_it(slide: Path, name: str) -> None:
    (slide.parent / name).unlink()
    refusal = f"^renamed\\.vms: {name} of 3 files it names missing; copy it again$"
    with pytest.raises(UnreadableSlideError, match=refusal):
        open_slide(slide)


def test_behind_a_url_it_is_the_same_files(slide: Path, tmp_path: Path) -> None:
    inputs = InputSettings(scratch=str(tmp_path / "scratch"))
    for ranges in (True, False):
        with web_server(ranges=ranges) as server:
            for path in slide.parent.iterdir():
                server.objects[f"x/{path.name}"] = path.read_bytes()
            url = server.url("x/renamed.vms")
            named = [file.name for file in look_up(url).files]
            assert named == ["renamed.vms", "macro.jpg", "map.jpg", "pic.jpg"]
            place = SlidePlace(url, inputs)
            assert content_at(place).fingerprint == slide_content(slide).fingerprint
            with opened(place, "auto") as reader:
                assert reader.size == (256, 192)
            close_idle()
            del server.objects["x/pic.jpg"]
            with (
                pytest.raises(UnreadableSlideError, match=r"pic\.jpg of 3 files it names missing"),
                opened(place, "auto"),
            ):
                pass
            close_idle()
