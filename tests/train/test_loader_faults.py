"""What is wrong with a set is one line that names file and remedy, the first few together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from pipeline.config import validated
from pipeline.errors import AnnotationError, ConfigError
from pipeline.train.config import SourceConfig
from pipeline.train.datasets import load_fields
from pipeline.train.fields import Field


def load(folder: Path, kind: str, **changes: Any) -> list[Field]:
    values = {"name": "set", "kind": kind, "path": str(folder), "mpp_um": 0.5}
    return load_fields(SourceConfig.model_validate(values | changes))


def make_image(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (32, 32)).save(path)


def table(folder: Path, *rows: str) -> None:
    (folder / "points.csv").write_text("\n".join(["image,x,y,label", *rows, ""]))


def refusal(folder: Path, kind: str, **changes: Any) -> str:
    with pytest.raises(AnnotationError) as raised:
        load(folder, kind, **changes)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_faults_of_a_whole_set_are_the_first_three_and_a_count(tmp_path: Path) -> None:
    for name in "abcde":
        make_image(tmp_path / f"{name}.png")
    table(tmp_path, "a.png,99,1,positive", "b.png,nan,1,positive", "f.png,1,1,negative")

    message = refusal(tmp_path, "points")

    assert message.startswith("source 'set': 6 faults: (1) a: point 1 at (99.5, 1.5) is outside")
    assert "(2) b: point 1 has a coordinate that is no number" in message
    assert "(3) c.png: no annotation in" in message
    assert message.endswith("and 3 more")


def test_an_annotation_without_its_image_is_named_and_can_be_excluded(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    table(tmp_path, "a.png,1,1,positive", "gone.png,1,1,negative")

    assert "annotates 'gone.png', an image that is not in" in refusal(tmp_path, "points")
    assert len(load(tmp_path, "points", exclude=("gone",))) == 1


@pytest.mark.parametrize("folder", ["fields/", "C:\\fields\\"])
def test_a_folder_before_an_image_name_is_what_is_to_go(tmp_path: Path, folder: str) -> None:
    make_image(tmp_path / "a.png")
    table(tmp_path, f"{folder}a.png,1,1,positive")

    assert refusal(tmp_path, "points").endswith("; write 'a.png', no folder")


def test_decimal_commas_are_named(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "points.csv").write_text("image;x;y;label\na.png;10,5;20;positive\n")

    assert refusal(tmp_path, "points").endswith("write decimal points, not commas")


def test_an_unknown_label_is_one_fault_however_many_rows_have_it(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    table(tmp_path, *(["a.png,1,1,tumour cell"] * 9))

    message = refusal(tmp_path, "points")

    assert "points.csv:2: unknown label 'tumour cell'; known: positive" in message
    assert 'labels = { "tumour cell" = "negative" }' in message
    assert "faults" not in message


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("L", r"1 channel \(mode L\)"),
        ("CMYK", "4 channels"),
        ("I;16", "1 channel"),
        ("RGBA", "4 c"),
    ],
)
def test_an_image_of_other_than_three_channels_is_refused(
    tmp_path: Path, mode: str, words: str
) -> None:
    make_image(tmp_path / "a.tif", mode)
    table(tmp_path, "a.tif,1,1,positive")

    with pytest.raises(AnnotationError, match=rf"a\.tif: the image has {words}.*save it as RGB"):
        load(tmp_path, "points")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_a_channel_are_refused(tmp_path: Path, suffix: str) -> None:
    # 12 bits in 16: the upper bytes alone, which Pillow would give, are all but black
    pixels = np.full((32, 32, 3), 4000, np.uint16)
    if suffix == "png":
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    else:
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    table(tmp_path, f"a.{suffix},1,1,positive")

    assert "16 bits a channel; save it as RGB of 8 bits" in refusal(tmp_path, "points")


@pytest.mark.parametrize(("x", "words"), [("nan", "is no number"), ("40", "outside the image")])
def test_marks_of_other_cells_are_looked_at_as_well(tmp_path: Path, x: str, words: str) -> None:
    make_image(tmp_path / "a.png")
    table(tmp_path, "a.png,1,1,positive", "a.png,2,2,lymphocyte", f"a.png,{x},3,lymphocyte")

    message = refusal(tmp_path, "points")
    assert message.startswith("a: point of no tumour cell, 2 ")
    assert words in message


def test_rows_that_name_an_image_with_and_without_its_suffix_all_count(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    table(tmp_path, "a.png,1,1,positive", "a,9,9,negative", "a.png,5,5,negative")

    (field,) = load(tmp_path, "points")
    assert len(field.x_px) == 3


def test_two_fields_of_one_name_are_refused(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    make_image(tmp_path / "a.jpg")
    table(tmp_path, "a.png,1,1,positive", "a.jpg,9,9,negative")

    assert "2 fields are named 'a'; rename" in refusal(tmp_path, "points")


def masks_of(folder: Path, mask: np.ndarray, name: str = "a.png") -> str:
    make_image(folder / "images" / "a.png")
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask).save(folder / "masks" / name)
    return refusal(folder, "masks")


def test_masks_that_are_not_those_of_the_nuclei_are_refused(tmp_path: Path) -> None:
    numbered = np.zeros((32, 32), np.uint8)
    numbered[2:6, 2:6], numbered[12:16, 12:16] = 1, 2
    assert "has 16 x 16 px and its image 32 x 32" in masks_of(tmp_path, numbered[:16, :16])
    assert "nuclei have the same value" in masks_of(tmp_path, (numbered > 0).astype(np.uint8))
    assert "nuclei have the same value" in masks_of(
        tmp_path, np.where(numbered > 0, 0, 255).astype(np.uint8)
    )
    assert "masks of one image; keep one" in masks_of(tmp_path, numbered, "a_mask.png")
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    assert "JPEG changes the numbers" in masks_of(tmp_path, numbered, "a.jpg")


def test_an_opaque_alpha_channel_is_no_fault(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (9, 9, 9, 255)).save(tmp_path / "a.png")
    table(tmp_path, "a.png,1,1,positive")

    assert load(tmp_path, "points")[0].image.shape == (32, 32, 3)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    table(tmp_path, "a.png,1,1,positive")

    assert "a.png: the image cannot be read" in refusal(tmp_path, "points")


def bcdata_orphan(folder: Path) -> str:
    for word in ("positive", "negative"):
        path = folder / "annotations" / word / "7.h5"
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as stored:
            stored["coordinates"] = np.empty((0, 2))
    make_image(folder / "images" / "1.png")
    return "positive/1.h5: the image's annotation is missing"


def uw_without_table(folder: Path) -> str:
    make_image(folder / "images" / "img1.png")
    (folder / "annotations").mkdir()
    savemat(folder / "annotations" / "img1_detection.mat", {"other": np.ones((2, 2))})
    return "img1_detection.mat: no table 'detection' of x, y; it holds other"


def uw_damaged(folder: Path) -> str:
    make_image(folder / "images" / "img1.png")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "img1_detection.mat").write_bytes(b"x" * 200)
    return "img1_detection.mat: cannot be read as MATLAB"


def brca_unknown_class(folder: Path) -> str:
    make_image(folder / "images" / "a.png")
    (folder / "labels").mkdir()
    (folder / "labels" / "a_gt_class_coords.txt").write_text("1 2 9\n")
    return "a_gt_class_coords.txt: row 1 has unknown class 9; use 1-3"


def masks_in_colour(folder: Path) -> str:
    make_image(folder / "images" / "a.png")
    make_image(folder / "masks" / "a.png")
    return "save whole numbers in one channel"


def conic_of_two_sizes(folder: Path) -> str:
    np.save(folder / "images.npy", np.zeros((2, 8, 8, 3), np.uint8))
    np.save(folder / "labels.npy", np.zeros((1, 8, 8, 2), np.uint16))
    return "do not belong together"


def shidc_of_no_points(folder: Path) -> str:
    make_image(folder / "images" / "p_1_1.jpg")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "p_1_1.json").write_text('[{"x": 1}]')
    return "point 1 has no x, y and label_id"


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("bcdata", bcdata_orphan),
        ("uw", uw_without_table),
        ("uw", uw_damaged),
        ("brca_m2c", brca_unknown_class),
        ("masks", masks_in_colour),
        ("conic", conic_of_two_sizes),
        ("shidc", shidc_of_no_points),
    ],
)
def test_a_fault_of_each_format_is_named(
    tmp_path: Path, kind: str, make: Callable[[Path], str]
) -> None:
    expected = make(tmp_path)

    assert expected in refusal(tmp_path, kind)


def test_an_annotation_file_without_image_is_a_fault_too(tmp_path: Path) -> None:
    bcdata_orphan(tmp_path)

    assert "7.h5: an annotation without its image; add the image or exclude 7" in refusal(
        tmp_path, "bcdata"
    )


def test_a_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "train" / "1.png")

    assert "no split 'tset'; there are: train" in refusal(tmp_path, "bcdata", split="tset")


def test_a_truncated_point_file_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1 1 5 5 5 10 1\n2 3 1 1\n")

    assert "gt.txt:2: is not `id n`" in refusal(tmp_path / "gt.txt", "paper_points")


def test_only_slides_may_leave_the_resolution_out() -> None:
    with pytest.raises(ConfigError, match="'set' needs mpp_um: images of kind masks"):
        validated(SourceConfig, {"name": "set", "kind": "masks", "path": "x"})
    assert SourceConfig(name="set", kind="qupath", path="x").mpp_um is None
