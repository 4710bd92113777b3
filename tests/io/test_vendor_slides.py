"""Slides in vendors' formats: geometry, pixel truth, and every trap that concerns a reader."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.config import InputSettings
from pipeline.core.tiling import Box
from pipeline.errors import (
    MissingResolutionError,
    ResolutionRangeError,
    UnreadableSlideError,
)
from pipeline.io.plane import SlidePlane, plane_over, read_overview
from pipeline.io.resolution import resolve_resolution
from pipeline.io.slides import SlideReader, open_slide
from pipeline.io.sources import discover

Pixels = NDArray[np.uint8]
Tiff = Callable[[str], tuple[Path, dict[str, Any]]]
JPEG_ERROR = 7.0
"""Mean absolute difference that JPEG at quality 85 to 90 leaves."""
BOTH = pytest.mark.parametrize("reader", ["openslide", "tiffslide"])


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def public(slide: SlideReader) -> str:
    """All that a slide says of itself, as text."""
    names = [name for name in dir(slide) if not name.startswith("_")]
    return repr({name: getattr(slide, name) for name in names})


# ---------------------------------------------------------------- Leica


def test_leica_bounds_begin_at_the_first_scanned_pixel(vendor_tiff: Tiff) -> None:
    path, facts = vendor_tiff("leica")
    slide = open_slide(path)
    x, y, width, height = facts["bounds"]
    assert (slide.reader, slide.vendor, slide.objective) == ("openslide", "leica", 20)
    assert list(slide.size) == facts["size"]
    assert slide.bounds == Box(x, y, x + width, y + height)
    assert slide.mpp == pytest.approx((0.25, 0.25), rel=1e-6)
    assert slide.read(0, x, y, 1, 1).tolist() == [[[255, 0, 0]]]
    pixels, absent = slide.read_absent(0, x - 1, y, 1, 1)
    assert absent.all()
    assert (pixels == 255).all()


def test_leica_pixels_are_the_written_ones(vendor_tiff: Tiff, vendor_image: Pixels) -> None:
    path, facts = vendor_tiff("leica")
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, *facts["bounds"]), vendor_image)


def test_the_gap_between_two_leica_scan_areas_is_white_and_absent(vendor_tiff: Tiff) -> None:
    path, facts = vendor_tiff("leica-two")
    slide = open_slide(path)
    (_, y0, _, height), (_, second, _, _) = facts["regions"]
    gap = slide.read_absent(0, slide.bounds.x0, y0 + height, slide.bounds.width, 40)
    assert y0 + height + 40 < second
    assert (gap[0] == 255).all()
    assert gap[1].all()


def test_the_plane_of_a_whole_glass_covers_the_scanned_part_only(
    vendor_tiff: Tiff, vendor_image: Pixels
) -> None:
    slide = open_slide(vendor_tiff("leica-slide")[0])
    frame = plane_over(slide, resolve_resolution(slide), 0.25)
    assert (frame.width, frame.height) == (1000, 1100)
    read = SlidePlane(slide, frame).read(Box(0, 0, 1000, 1100))
    assert np.array_equal(read, vendor_image)


# ---------------------------------------------------------------- Philips, Aperio, Trestle, Ventana


@BOTH
def test_philips_tiles_that_are_missing_are_white_and_absent(
    vendor_tiff: Tiff, vendor_image: Pixels, reader: str
) -> None:
    path, facts = vendor_tiff("philips")
    slide = open_slide(path, reader)
    assert slide.size == facts["size"]
    assert slide.mpp == pytest.approx((0.25, facts["mpp_y"]))
    assert slide.vendor == "philips"
    assert facts["sparse"]
    for col, row in facts["sparse"]:
        pixels, absent = slide.read_absent(0, col * 512, row * 512, 512, 512)
        assert (pixels == 255).all()
        assert absent.all()
    assert np.array_equal(slide.read(0, 0, 0, 1000, 512), vendor_image[:512])
    assert not slide.read_absent(0, 0, 0, 1000, 512)[1].any()


@BOTH
@pytest.mark.parametrize("name", ["aperio", "aperio-comma", "aperio-label"])
def test_aperio_states_its_mpp_with_point_or_comma(
    vendor_tiff: Tiff, vendor_image: Pixels, reader: str, name: str
) -> None:
    slide = open_slide(vendor_tiff(name)[0], reader)
    assert (slide.vendor, slide.mpp, slide.mpp_source) == ("aperio", (0.25, 0.25), "vendor")
    assert slide.objective == 20
    assert np.array_equal(slide.read(0, 0, 0, 1000, 1100), vendor_image)


def test_aperio_without_mpp_is_refused_and_fine_when_told(vendor_tiff: Tiff) -> None:
    slide = open_slide(vendor_tiff("aperio-nompp")[0])
    with pytest.raises(MissingResolutionError, match=r"aperio-nompp\.tif.*--assume-mpp"):
        resolve_resolution(slide)
    assert resolve_resolution(slide, assume_mpp=0.3).source == "assumed"


def test_a_screen_resolution_in_the_tag_is_no_resolution(vendor_tiff: Tiff) -> None:
    with pytest.raises(MissingResolutionError):
        resolve_resolution(open_slide(vendor_tiff("aperio-nompp-72dpi")[0]))
    for name, reader in (("aperio-nompp-72dpi", "tiffslide"), ("generic-72dpi", "auto")):
        slide = open_slide(vendor_tiff(name)[0], reader)
        assert slide.mpp_source == "tiff-tag"
        with pytest.raises(ResolutionRangeError, match=r"352\.778.*--mpp"):
            resolve_resolution(slide, assume_mpp=0.25)


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        *((name, "openslide") for name in ("leica", "philips", "aperio-label", "ventana")),
        *((name, "tiffslide") for name in ("philips", "aperio-label", "ome")),
    ],
)
def test_no_barcode_user_or_label_leaves_a_reader(
    vendor_tiff: Tiff, vendor_writer: Any, name: str, reader: str
) -> None:
    tiffs = vendor_writer("vendor_tiffs")
    path = vendor_tiff(name)[0]
    text = public(open_slide(path, reader))
    assert path.name in text
    assert tiffs.SECRET not in text
    assert tiffs.CODED not in text


def test_trestle_and_ventana_are_read_by_openslide_only(
    vendor_tiff: Tiff, vendor_image: Pixels
) -> None:
    trestle = open_slide(vendor_tiff("trestle")[0])
    assert (trestle.vendor, trestle.mpp) == ("trestle", (0.25, 0.25))
    assert np.array_equal(trestle.read(0, 0, 0, 1000, 1100), vendor_image)
    path, facts = vendor_tiff("ventana")
    ventana = open_slide(path)
    assert (ventana.vendor, ventana.mpp, ventana.objective) == ("ventana", (0.25, 0.25), 20)
    assert ventana.size == (976, 976) != facts["raw"]
    assert np.array_equal(ventana.read(0, 0, 0, 976, 976), vendor_image[:976, :976])
    for name in ("trestle", "ventana", "leica"):
        with pytest.raises(UnreadableSlideError, match=f"{name} slide is read by OpenSlide only"):
            open_slide(vendor_tiff(name)[0], "tiffslide")


# ---------------------------------------------------------------- generic TIFF, OME-TIFF


@BOTH
def test_generic_tiles_that_are_missing_are_white_and_absent(
    vendor_tiff: Tiff, reader: str
) -> None:
    path, facts = vendor_tiff("generic-sparse")
    slide = open_slide(path, reader)
    assert facts["sparse"]
    for col, row in facts["sparse"]:
        width, height = min(256, 1000 - col * 256), min(256, 1100 - row * 256)
        pixels, absent = slide.read_absent(0, col * 256, row * 256, width, height)
        assert (pixels == 255).all()
        assert absent.all()
    assert not slide.read_absent(0, 0, 0, 256, 256)[1].any()


@BOTH
def test_one_damaged_tile_fails_alone(vendor_tiff: Tiff, vendor_image: Pixels, reader: str) -> None:
    path, facts = vendor_tiff("generic-corrupt")
    slide = open_slide(path, reader)
    x, y = (n * 256 for n in facts["corrupt"])
    for _ in range(2):
        with pytest.raises(UnreadableSlideError, match=r"^generic-corrupt\.tif: damaged at"):
            slide.read(0, x + 100, y + 100, 20, 20)
        assert np.array_equal(slide.read(0, 0, 0, x, 1100), vendor_image[:, :x])
    assert slide.read(1, 0, 0, 500, 550).std() > 10


@BOTH
def test_a_damaged_tile_whitens_only_the_pieces_that_touch_it(
    vendor_tiff: Tiff, vendor_image: Pixels, reader: str
) -> None:
    slide = open_slide(vendor_tiff("generic-corrupt")[0], reader)
    plane = SlidePlane(slide, plane_over(slide, resolve_resolution(slide), 0.25))
    box = Box(-20, -20, 1020, 1120)
    pieces = [
        Box(x, y, x + 260, y + 280) for y in range(-20, 1120, 285 - 5) for x in (-20, 240, 500, 760)
    ]
    pixels, unreadable = plane.read_or_white(box, pieces)
    assert unreadable == [p for p in pieces if p.x1 > 768 and p.y1 > 512 and p.y0 < 768]
    white = np.full_like(pixels, 255)
    white[20:1120, 20:1020] = vendor_image
    for piece in unreadable:
        white[piece.y0 + 20 : piece.y1 + 20, piece.x0 + 20 : piece.x1 + 20] = 255
    assert np.array_equal(pixels, white)


def test_a_whole_box_reports_no_piece(vendor_tiff: Tiff) -> None:
    slide = open_slide(vendor_tiff("generic-corrupt")[0])
    plane = SlidePlane(slide, plane_over(slide, resolve_resolution(slide), 0.25))
    box = Box(0, 0, 300, 300)
    pixels, unreadable = plane.read_or_white(box, [Box(0, 0, 5, 5)])
    assert unreadable == []
    assert np.array_equal(pixels, plane.read(box))


@pytest.mark.parametrize("name", ["generic-truncated", "generic-truncated-pyramid"])
@pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
def test_a_truncated_slide_opens_in_no_reader(vendor_tiff: Tiff, name: str, reader: str) -> None:
    path = vendor_tiff(name)[0]
    with pytest.raises(UnreadableSlideError, match=f"^{name}.tif: "):
        open_slide(path, reader)


def test_ome_levels_are_all_seen(vendor_tiff: Tiff, vendor_image: Pixels) -> None:
    path = vendor_tiff("ome")[0]
    slide = open_slide(path)
    assert (slide.reader, slide.vendor, slide.mpp) == ("tiffslide", "ome-tiff", (0.25, 0.25))
    assert slide.level_sizes == ((1000, 1100), (500, 550))
    assert np.array_equal(slide.read(0, 0, 0, 1000, 1100), vendor_image)
    assert len(open_slide(path, "openslide").level_sizes) == 1


# ---------------------------------------------------------------- MIRAX


@dataclass
class Written:
    """A slide that a script wrote, and what is true of it."""

    path: Path
    facts: dict[str, Any]


@pytest.fixture(scope="session")
def mirax(tmp_path_factory: pytest.TempPathFactory, vendor_writer: Any) -> Callable[..., Written]:
    """Write a small MIRAX slide whose scanned part lies far from (0, 0)."""

    def write(*extra: str) -> Written:
        path = tmp_path_factory.mktemp("mirax") / "m.mrxs"
        small = "--width 1500 --height 1200 --offset-tiles 6 9 --pad-tiles 4 5 --levels 4 --files 2"
        return Written(path, vendor_writer("mirax").write([str(path), *small.split(), *extra]))

    return write


@pytest.fixture(scope="session")
def sound_mirax(mirax: Callable[..., Written]) -> Written:
    return mirax()


def mirax_truth(render: Callable[..., Pixels], written: Written, box: Box) -> Pixels:
    origin_x, origin_y = written.facts["origin"]
    return render(
        box.x0 - origin_x, box.y0 - origin_y, box.width, box.height, *written.facts["region"]
    )


def photos(written: Written, margin: int = 24) -> Iterator[Box]:
    """The middle of each stored photo: its borders are shared with others."""
    side = written.facts["photo"]
    for x, y in written.facts["photos_present"]:
        yield Box(x, y, x + side, y + side).grown(-margin)


def test_mirax_bounds_mpp_and_pixels(
    sound_mirax: Written, scene_pixels: Callable[..., Pixels]
) -> None:
    slide = open_slide(sound_mirax.path)
    x, y, width, height = sound_mirax.facts["bounds"]
    assert (slide.vendor, slide.mpp, slide.objective) == ("mirax", (0.25, 0.25), 40)
    assert slide.bounds == Box(x, y, x + width, y + height)
    assert slide.size[0] > 3 * width
    for box in photos(sound_mirax):
        read, absent = slide.read_absent(0, box.x0, box.y0, box.width, box.height)
        assert difference(read, mirax_truth(scene_pixels, sound_mirax, box)) < JPEG_ERROR
        assert not absent.any()


def test_the_empty_canvas_of_mirax_is_white_and_absent(sound_mirax: Written) -> None:
    slide = open_slide(sound_mirax.path)
    for level, (scale, _) in enumerate(slide.level_scales):
        side = int(slide.bounds.x0 / scale) - 8
        pixels, absent = slide.read_absent(level, 0, 0, side, side)
        assert (pixels == 255).all()
        assert absent.all()


def test_the_overview_of_mirax_covers_its_bounds_and_knows_what_is_absent(
    sound_mirax: Written,
) -> None:
    slide = open_slide(sound_mirax.path)
    overview = read_overview(slide, resolve_resolution(slide), mpp_um=8)
    _, _, width, height = sound_mirax.facts["bounds"]
    assert (overview.frame.width, overview.frame.height) == (-(-width // 32), -(-height // 32))
    assert overview.unreadable == ()
    side = sound_mirax.facts["photo"] // 32
    for x, y in sound_mirax.facts["photos_absent_in_bounds"]:
        col, row = (x - slide.bounds.x0) // 32, (y - slide.bounds.y0) // 32
        assert overview.absent[row + 2 : row + side - 2, col + 2 : col + side - 2].all()
    assert 0.3 < 1 - overview.absent.mean() <= 1
    assert (overview.rgb[overview.absent] > 240).all()


def test_a_lone_mrxs_file_is_refused_naming_its_folder(
    tmp_path: Path, sound_mirax: Written
) -> None:
    lone = tmp_path / "lone.mrxs"
    lone.write_bytes(sound_mirax.path.read_bytes())
    with pytest.raises(UnreadableSlideError, match=r"^lone\.mrxs: the folder lone/ is missing"):
        open_slide(lone)
    (tmp_path / "lone").mkdir()
    with pytest.raises(UnreadableSlideError, match=r"Slidedat\.ini"):
        open_slide(lone)


@pytest.mark.parametrize("fault", ["missing-base", "no-index"])
def test_mirax_without_its_index_or_base_is_refused(
    mirax: Callable[..., Written], fault: str
) -> None:
    written = mirax("--break", fault)
    with pytest.raises(UnreadableSlideError, match=r"^m\.mrxs: ") as caught:
        open_slide(written.path)
    assert str(written.path.parent) not in str(caught.value)
    assert written.facts["damage"]["file"] in str(caught.value)


def test_a_mirax_slide_that_lacks_a_file_is_refused_naming_it(
    mirax: Callable[..., Written],
) -> None:
    written = mirax("--break", "missing")
    with pytest.raises(
        UnreadableSlideError, match=r"^m\.mrxs: .* missing; copy it again$"
    ) as caught:
        open_slide(written.path)
    assert written.facts["damage"]["file"] in str(caught.value)


def test_lost_mirax_photos_fail_and_the_others_are_read(
    mirax: Callable[..., Written], scene_pixels: Callable[..., Pixels]
) -> None:
    written = mirax("--break", "truncated")
    slide = open_slide(written.path)
    assert read_overview(slide, resolve_resolution(slide), mpp_um=8).unreadable == ()
    outcomes = []
    for box in photos(written):
        try:
            read = slide.read(0, box.x0, box.y0, box.width, box.height)
        except UnreadableSlideError:
            outcomes.append(False)
            continue
        outcomes.append(True)
        assert difference(read, mirax_truth(scene_pixels, written, box)) < JPEG_ERROR
    assert 0 < sum(outcomes) < len(outcomes)


def test_a_damaged_small_level_hides_no_tissue_from_the_overview(
    mirax: Callable[..., Written], sound_mirax: Written
) -> None:
    damaged = open_slide(mirax("--break", "corrupt", "--break-level", "3").path)
    resolution = resolve_resolution(damaged)
    overview = read_overview(damaged, resolution, mpp_um=2)
    sound = read_overview(open_slide(sound_mirax.path), resolution, mpp_um=2)
    with pytest.raises(UnreadableSlideError):
        damaged.read(3, 0, 0, *damaged.level_sizes[3])
    assert overview.unreadable == ()
    assert (overview.absent == sound.absent).mean() > 0.98
    assert difference(overview.rgb, sound.rgb) < JPEG_ERROR


def test_what_is_damaged_on_all_levels_is_reported(vendor_tiff: Tiff) -> None:
    slide = open_slide(vendor_tiff("generic-corrupt")[0])
    overview = read_overview(slide, resolve_resolution(slide), mpp_um=0.25)
    assert overview.unreadable
    tile = Box(768, 512, 1000, 768)
    for box in overview.unreadable:
        assert box.x1 > tile.x0
        assert box.y1 > tile.y0
        assert box.y0 < tile.y1
        assert overview.absent[box.y0 : box.y1, box.x0 : box.x1].all()
    assert not overview.absent[:440].any()


# ---------------------------------------------------------------- DICOM


@pytest.fixture(scope="session")
def dicom(tmp_path_factory: pytest.TempPathFactory, vendor_writer: Any) -> Callable[..., Written]:
    """Write a small DICOM series of three levels, a label and an overview."""
    pytest.importorskip("pydicom", reason="writing DICOM needs pydicom")

    def write(*extra: str, folder: Path | None = None) -> Written:
        folder = folder or tmp_path_factory.mktemp("dicom")
        small = "--width 1500 --height 1100 --levels 3"
        facts = vendor_writer("dicom_wsi").write([str(folder), *small.split(), *extra])
        return Written(folder / facts["files"][0], facts)

    return write


@pytest.fixture(scope="session")
def sound_dicom(dicom: Callable[..., Written]) -> Written:
    return dicom("--phi")


def test_dicom_pixels_and_mpp(sound_dicom: Written, scene_pixels: Callable[..., Pixels]) -> None:
    slide = open_slide(sound_dicom.path)
    assert (slide.vendor, slide.mpp, slide.objective) == ("dicom", (0.25, 0.25), 40)
    assert [list(size) for size in slide.level_sizes] == [
        list(size) for size in sound_dicom.facts["levels"]
    ]
    assert slide.bounds == Box(0, 0, 1500, 1100)
    assert not slide.resampled
    truth = scene_pixels(200, 100, 600, 500, 1500, 1100)
    assert difference(slide.read(0, 200, 100, 600, 500), truth) < JPEG_ERROR


@pytest.mark.parametrize("member", ["label.dcm", "level2.dcm"])
def test_any_file_of_a_dicom_series_is_the_whole_slide(sound_dicom: Written, member: str) -> None:
    slide = open_slide(sound_dicom.path.with_name(member))
    assert slide.size == (1500, 1100)


def test_no_patient_leaves_a_dicom_reader(sound_dicom: Written, vendor_writer: Any) -> None:
    text = public(open_slide(sound_dicom.path))
    for value in vendor_writer("dicom_wsi").PHI.values():
        assert value not in text


def test_a_dicom_series_without_its_base_is_refused(dicom: Callable[..., Written]) -> None:
    written = dicom("--drop-level", "0")
    slide = open_slide(written.path.with_name("level1.dcm"))
    assert slide.size == (750, 550)
    assert slide.mpp == (0.5, 0.5)
    assert slide.objective == 40
    with pytest.raises(UnreadableSlideError, match=r"full-resolution file .* is missing"):
        resolve_resolution(slide)
    assert resolve_resolution(slide, mpp=0.5).mpp == (0.5, 0.5)


def test_a_cut_dicom_base_fails_where_it_is_cut_and_nowhere_else(
    dicom: Callable[..., Written],
) -> None:
    slide = open_slide(dicom("--truncate-level", "0").path)
    assert slide.size == (1500, 1100)
    with pytest.raises(UnreadableSlideError, match="damaged at level-0 pixel"):
        slide.read(0, 0, 1000, 100, 100)
    assert slide.read(0, 300, 250, 100, 100).std() > 10


def test_dicom_without_spacing_has_no_mpp(dicom: Callable[..., Written]) -> None:
    slide = open_slide(dicom("--no-spacing").path)
    with pytest.raises(MissingResolutionError):
        resolve_resolution(slide)


def test_dicom_frames_that_are_not_stored_are_white_and_absent(
    dicom: Callable[..., Written],
) -> None:
    written = dicom("--sparse")
    slide = open_slide(written.path)
    stored = {tuple(spot) for spot in written.facts["tiles_present"][0]}
    missing = [(r, c) for r in range(4) for c in range(5) if (r, c) not in stored]
    assert missing
    for row, col in missing:
        pixels, absent = slide.read_absent(0, col * 256, row * 256, 256, 256)
        assert (pixels == 255).all()
        assert absent.all()


def test_two_series_in_one_folder_are_two_slides(
    dicom: Callable[..., Written], tmp_path: Path
) -> None:
    dicom("--prefix", "a", folder=tmp_path)
    dicom("--prefix", "b", "--seed", "1", folder=tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    settled = InputSettings(settle_s=0)
    slides = discover([tmp_path], settled)
    assert [slide.relative for slide in slides] == ["alevel0.dcm", "blevel0.dcm"]
    assert [open_slide(slide.path).size for slide in slides] == [(1500, 1100)] * 2
    assert discover([tmp_path / "alevel0.dcm", tmp_path], settled)[0] == slides[0]


def test_a_crooked_dicom_level_obeys_the_law(dicom: Callable[..., Written]) -> None:
    slide = open_slide(dicom("--height", "1101", "--width", "2201").path)
    assert slide.level_sizes[1] == (1100, 550)
    assert slide.level_scales[1] == (2.0, 2.0)
    whole = slide.read(1, 0, 0, 1100, 550)
    assert np.array_equal(slide.read(1, 1010, 200, 60, 300), whole[200:500, 1010:1070])


# ---------------------------------------------------------------- NDPI


@pytest.fixture(scope="session")
def ndpi(tmp_path_factory: pytest.TempPathFactory, vendor_writer: Any) -> Callable[..., Written]:
    """Write a small NDPI slide."""

    def write(*extra: str) -> Written:
        path = tmp_path_factory.mktemp("ndpi") / "n.ndpi"
        small = "--width 1500 --height 1000 --levels 2"
        return Written(path, vendor_writer("ndpi").write([str(path), *small.split(), *extra]))

    return write


@pytest.mark.parametrize("extra", [(), ("--no-mcu-starts",)])
def test_ndpi_pixels_and_mpp(
    ndpi: Callable[..., Written], scene_pixels: Callable[..., Pixels], extra: tuple[str, ...]
) -> None:
    slide = open_slide(ndpi(*extra).path)
    assert (slide.vendor, slide.objective, slide.size) == ("hamamatsu", 40, (1536, 1024))
    assert slide.mpp == pytest.approx((0.23, 0.23), rel=1e-6)
    assert "SYNTHETIC-1" not in public(slide)
    truth = scene_pixels(300, 200, 700, 500, 1500, 1000)
    assert difference(slide.read(0, 300, 200, 700, 500), truth) < JPEG_ERROR


def test_levels_that_openslide_makes_up_are_scaled_right(
    ndpi: Callable[..., Written], scene_pixels: Callable[..., Pixels], halved: Any
) -> None:
    slide = open_slide(ndpi().path)
    assert slide.level_scales[1] == (2.0, 2.0)
    truth = halved(scene_pixels(0, 0, 1536, 1024, 1500, 1000))
    assert difference(slide.read(1, 0, 0, 768, 512), truth) < JPEG_ERROR


def test_a_truncated_ndpi_is_refused(ndpi: Callable[..., Written]) -> None:
    with pytest.raises(UnreadableSlideError, match=r"^n\.ndpi: "):
        open_slide(ndpi("--truncate").path)
