"""Opening slides: which reader, what is refused and how, real files."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.tiling import Box
from pipeline.errors import ConfigError, UnreadableSlideError
from pipeline.io.reading import bounds_within, level_scales, number, ome_mpp, on_white, unreadable
from pipeline.io.slides import SlideReader, open_slide

Pixels = NDArray[np.uint8]
BOTH = pytest.mark.parametrize("reader", ["openslide", "tiffslide"])


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory, write_pyramid: Any, halved: Any) -> Path:
    """Write a pyramid of odd sides: 1501 x 1403 over 750 x 701."""
    pixels = np.random.default_rng(5).integers(0, 256, (1403, 1501, 3), np.uint8)
    path: Path = write_pyramid(
        tmp_path_factory.mktemp("noise") / "noise.tif", [pixels, halved(pixels)]
    )
    return path


def refusal(path: Path, reader: str = "auto") -> str:
    with pytest.raises(UnreadableSlideError) as caught:
        open_slide(path, reader)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path.name}: ")
    assert str(path.parent) not in line
    return line


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.svs") == "gone.svs: no such file"


def test_an_empty_file_is_refused_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.svs"
    path.touch()
    assert "0 bytes" in refusal(path)


def test_a_folder_is_refused_as_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder.svs"
    folder.mkdir()
    assert "folder" in refusal(folder)


@pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
def test_a_text_renamed_to_svs_is_no_slide(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "notes.svs"
    path.write_text("dear colleague\n" * 99)
    refusal(path, reader)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "locked.svs"
    path.write_text("x")
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_an_unknown_reader_is_a_setting_error(noise: Path) -> None:
    with pytest.raises(ConfigError, match="bioformats"):
        open_slide(noise, "bioformats")


def test_an_old_openslide_library_is_refused(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openslide.__library_version__", "4.0.0")
    with pytest.raises(ConfigError, match=r"4\.0\.0 is older than 4\.0\.1"):
        open_slide(noise)


def test_a_striped_tiff_is_no_slide(tmp_path: Path, write_pyramid: Any) -> None:
    import tifffile

    path = tmp_path / "striped.tif"
    tifffile.imwrite(path, np.zeros((300, 300, 3), np.uint8), photometric="rgb")
    assert "without tiles" in refusal(path)


def test_a_sixteen_bit_tiff_is_no_slide(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "deep.tif"
    pixels = np.zeros((512, 512, 3), np.uint16)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256))
    assert "8-bit RGB" in refusal(path, "tiffslide")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])
@BOTH
def test_a_truncated_tiff_is_refused_wherever_it_is_cut(
    tmp_path: Path, noise: Path, share: float, reader: str
) -> None:
    path = tmp_path / "cut.tif"
    whole = noise.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refusal(path, reader)
    refusal(path)


@pytest.mark.parametrize(
    "head",
    [b"II*\0" + (10**6).to_bytes(4, "little"), b"II+\0\x08\0\0\0" + (10**6).to_bytes(8, "little")],
)
def test_a_tiff_cut_before_its_tables_is_truncated_not_a_riddle(
    tmp_path: Path, head: bytes
) -> None:
    path = tmp_path / "cut.svs"
    path.write_bytes(head + bytes(900))
    assert "truncated: its tables reach to byte 1,000,0" in refusal(path)


def test_an_ome_tiff_cut_inside_its_sub_levels_is_refused(tmp_path: Path, vendor_tiff: Any) -> None:
    path = tmp_path / "cut.ome.tif"
    whole = vendor_tiff("ome")[0].read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.9)])
    assert "truncated" in refusal(path)


def test_a_generic_tiff_is_read_by_openslide_unless_told_otherwise(noise: Path) -> None:
    assert open_slide(noise).reader == "openslide"
    assert open_slide(noise, "tiffslide").reader == "tiffslide"


@BOTH
def test_both_readers_give_the_same_level_0(noise: Path, reader: str) -> None:
    slide = open_slide(noise, reader)
    other = open_slide(noise, "openslide")
    assert np.array_equal(slide.read(0, 100, 200, 900, 700), other.read(0, 100, 200, 900, 700))


@BOTH
@pytest.mark.parametrize("level", [0, 1])
def test_a_pixel_is_the_same_whatever_rectangle_asks(noise: Path, reader: str, level: int) -> None:
    slide = open_slide(noise, reader)
    if level:
        assert slide.level_sizes[0][0] / slide.level_sizes[1][0] != 2
    whole = slide.read(level, 0, 0, *slide.level_sizes[level])
    rng = np.random.default_rng(level)
    for _ in range(12):
        x, y = rng.integers(0, 600, 2)
        width, height = rng.integers(1, 140, 2)
        part = slide.read(level, int(x), int(y), int(width), int(height))
        assert np.array_equal(part, whole[y : y + height, x : x + width])


@BOTH
def test_pixels_of_a_lower_level_are_where_its_file_has_them(
    noise: Path, reader: str, halved: Any
) -> None:
    slide = open_slide(noise, reader)
    stored = halved(open_slide(noise).read(0, 0, 0, 1501, 1403)).astype(int)
    read = slide.read(1, 0, 0, 750, 701).astype(int)
    # OpenSlide interpolates such levels; what it gives stays on the spot
    assert np.abs(read[300:400, 300:400] - stored[300:400, 300:400]).mean() < 20


@BOTH
def test_there_is_white_and_absence_outside_the_slide(noise: Path, reader: str) -> None:
    slide = open_slide(noise, reader)
    pixels, absent = slide.read_absent(0, -30, 1393, 100, 50)
    assert (pixels[:, :30] == 255).all()
    assert (pixels[10:] == 255).all()
    assert absent[:, :30].all()
    assert absent[10:].all()
    assert not absent[:10, 30:].any()
    assert np.array_equal(pixels[:10, 30:], slide.read(0, 0, 1393, 70, 10))
    far, gone = slide.read_absent(1, 5000, 5000, 20, 10)
    assert far.shape == (10, 20, 3)
    assert (far == 255).all()
    assert gone.all()


@BOTH
def test_a_rectangle_without_pixels_is_refused(noise: Path, reader: str) -> None:
    with pytest.raises(ValueError, match="0 x 5"):
        open_slide(noise, reader).read(0, 0, 0, 0, 5)


def test_a_closed_slide_opens_again_for_a_read(noise: Path) -> None:
    slide = open_slide(noise)
    before = slide.read(0, 5, 5, 9, 9)
    slide.close()
    assert np.array_equal(slide.read(0, 5, 5, 9, 9), before)
    slide.close()


def test_a_damaged_place_spoils_no_other_thread(vendor_tiff: Any, vendor_image: Pixels) -> None:
    slide = open_slide(vendor_tiff("generic-corrupt")[0])
    faults: list[str] = []

    def read_good() -> None:
        for _ in range(30):
            try:
                if not np.array_equal(slide.read(0, 10, 10, 50, 40), vendor_image[10:50, 10:60]):
                    faults.append("wrong pixels")
            except UnreadableSlideError as error:
                faults.append(str(error))

    def read_bad() -> None:
        for _ in range(30):
            with pytest.raises(UnreadableSlideError):
                slide.read(0, 768, 512, 50, 50)

    threads = [threading.Thread(target=target) for target in (read_good, read_bad, read_good)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_a_half_transparent_pixel_is_mixed_with_white() -> None:
    rgba = np.array([[[0, 100, 200, 0], [0, 100, 200, 255], [0, 100, 200, 128]]], np.uint8)
    pixels, absent = on_white(Image.fromarray(rgba))
    assert pixels.tolist() == [[[255, 255, 255], [0, 100, 200], [127, 177, 227]]]
    assert absent.tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.25", 0.25), ("0,2500", 0.25), (" 20 ", 20), ("x", None), (None, None), ("nan", None)],
)
def test_numbers_are_read_from_what_scanners_write(text: object, value: float | None) -> None:
    assert number(text) == value


def test_a_dropped_odd_column_does_not_make_a_crooked_factor() -> None:
    assert level_scales([(4443, 3567), (2221, 1783)])[1] == (2.0, 2.0)
    assert level_scales([(6000, 4500), (750, 562)])[1] == (8.0, 8.0)
    assert level_scales([(101, 101), (51, 51)])[1] == (2.0, 2.0)
    assert level_scales([(1000, 1000), (400, 500)])[1] == (2.5, 2.0)
    assert level_scales([(4443, 3567), (2221, 1783)], snap=False)[1][0] == 4443 / 2221


@pytest.mark.parametrize(
    ("corner", "extent", "box"),
    [
        (("10", "20"), ("30", "40"), Box(10, 20, 40, 60)),
        ((None, None), (None, None), Box(0, 0, 100, 200)),
        (("90", "20"), ("30", "400"), Box(90, 20, 100, 200)),
        (("300", "20"), ("30", "40"), Box(0, 0, 100, 200)),
        (("10", "20"), ("0", "40"), Box(0, 0, 100, 200)),
    ],
)
def test_bounds_are_kept_inside_the_slide(corner: Any, extent: Any, box: Box) -> None:
    assert bounds_within((100, 200), corner, extent) == box


def test_ome_sizes_count_only_in_micrometres() -> None:
    assert ome_mpp('<Pixels PhysicalSizeX="0.5" PhysicalSizeY="0.25"/>') == (0.5, 0.25)
    assert ome_mpp('PhysicalSizeX="0.5" PhysicalSizeXUnit="mm" PhysicalSizeY="1"') is None
    assert ome_mpp('PhysicalSizeX="0.5"') is None


def test_an_error_line_names_the_file_and_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.svs"
    line = str(unreadable(path, f"Couldn't open {path}:\n bad"))
    assert line == "b.svs: Couldn't open b.svs: bad"


def real(folder: Path, name: str) -> Path:
    path = folder / "slides" / name
    if not path.exists():
        pytest.skip(f"{name} is not in the data folder")
    return path


def describe(slide: SlideReader) -> tuple[Any, ...]:
    return slide.reader, slide.vendor, slide.size, slide.mpp, slide.mpp_source


def test_the_real_aperio_region_opens(ki67_data: Path) -> None:
    slide = open_slide(real(ki67_data, "CMU-1-Small-Region.svs"))
    assert describe(slide) == ("openslide", "aperio", (2220, 2967), (0.499, 0.499), "vendor")
    assert slide.objective == 20
    tissue = slide.read(0, 800, 1200, 400, 300)
    assert 100 < tissue.mean() < 240


def test_the_real_ome_tiff_opens_through_tiffslide(ki67_data: Path) -> None:
    slide = open_slide(real(ki67_data, "HE_example.tif"))
    assert describe(slide)[:3] == ("tiffslide", "ome-tiff", (1380, 1484))
    assert slide.mpp == pytest.approx((0.5, 0.5), rel=1e-3)
    assert slide.read(0, 0, 0, 1380, 1484).std() > 10
    assert "Unsupported" in refusal(real(ki67_data, "HE_example.tif"), "openslide")


def test_the_real_dicom_overview_opens_as_a_reduced_copy(ki67_data: Path) -> None:
    slide = open_slide(real(ki67_data, "ezwsi_camelyon.dcm"))
    assert describe(slide)[1:3] == ("dicom", (1152, 700))
    assert slide.resampled


def test_the_real_dicom_without_a_flavour_fails_in_one_line(ki67_data: Path) -> None:
    refused = refusal(real(ki67_data, "small_dicom.dcm"))
    assert "flavor" in refused
    assert refused.endswith("; copy or export it again, or convert it to a pyramidal TIFF")


@BOTH
def test_the_real_lower_level_of_2_0005_obeys_the_law(ki67_data: Path, reader: str) -> None:
    slide = open_slide(real(ki67_data, "tcga-cr-7395-01a-01-ts1.svs"), reader)
    whole = slide.read(1, 800, 700, 1400, 900)
    assert np.array_equal(slide.read(1, 1000, 900, 300, 250), whole[200:450, 200:500])
