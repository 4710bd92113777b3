"""Each format's own files become fields: counts, places, classes and groups as its set says."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from pipeline.train.config import SourceConfig
from pipeline.train.datasets import load_fields
from pipeline.train.fields import UNCLASSED, Field


def make_image(path: Path, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), 200, np.uint8)).save(path)


def load(folder: Path, kind: str, **changes: Any) -> list[Field]:
    values = {"name": "set", "kind": kind, "path": str(folder), "mpp_um": 0.5}
    return load_fields(SourceConfig.model_validate(values | changes))


def places(field: Field) -> list[tuple[float, float, int]]:
    rows = zip(field.x_px.tolist(), field.y_px.tolist(), field.label.tolist(), strict=True)
    return sorted(rows)


def write_bcdata(folder: Path, split: str, number: int) -> None:
    make_image(folder / "images" / split / f"{number}.png")
    for word, points in (("positive", [[3, 4]]), ("negative", np.empty((0, 2)))):
        path = folder / "annotations" / split / word / f"{number}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as stored:
            stored["coordinates"] = np.array(points, np.int64)


def test_the_official_layout_of_bcdata_is_read_by_split_or_whole(tmp_path: Path) -> None:
    for split, number in (("train", 0), ("train", 4), ("test", 0)):
        write_bcdata(tmp_path, split, number)

    (test,) = load(tmp_path, "bcdata", split="test")
    every = load(tmp_path, "bcdata")

    assert (test.name, test.group, places(test)) == ("0", "block-0", [(3.5, 4.5, 1)])
    assert [field.name for field in every] == ["test-0", "train-0", "train-4"]
    assert len({field.group for field in every}) == 3


def test_lymphocytes_of_shidc_are_marked_but_in_no_count(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "p1_0299_1.jpg")
    (tmp_path / "annotations").mkdir()
    rows = [{"x": 1, "y": 2, "label_id": 3}, {"x": 5, "y": 6, "label_id": 2}]
    (tmp_path / "annotations" / "p1_0299_1.json").write_text(json.dumps(rows))

    (field,) = load(tmp_path, "shidc")

    assert places(field) == [(5.5, 6.5, 0)]
    assert field.other_xy_px.tolist() == [[1.5, 2.5]]
    assert field.resampled(1.0).other_xy_px.tolist() == [[0.75, 1.25]]


def test_a_table_in_micrometres_counts_from_the_corner(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    table = tmp_path / "mine.csv"
    table.write_text("image,x_um,y_um,label,group\na.png,4,8,Tumor: Positive,patient 7\n")

    (field,) = load(table, "points")

    assert places(field) == [(8.0, 16.0, 1)]
    assert field.group == "patient 7"


def test_a_measurement_table_of_qupath_is_read_as_it_is(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "a.png")
    header = "Image\tObject ID\tName\tClassification\tCentroid X µm\tCentroid Y µm\n"
    rows = "a.png\t1\t\tNegative\t2.5\t5\na.png\t2\t\tImmune cells\t7.5\t5\n"
    (tmp_path / "points.tsv").write_text(header + rows, encoding="utf-8")

    (field,) = load(tmp_path, "points")

    assert places(field) == [(5.0, 10.0, 0)]
    assert field.other_xy_px.tolist() == [[15.0, 10.0]]


def test_own_label_words_are_told_in_the_settings(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "points.csv").write_text(
        "image,x,y,label\na.png,1,1,MIB1+\na.png,2,2,mib1-\na.png,3,3,fibroblast\na.png,4,4,?\n"
    )
    labels = {"MIB1+": "positive", "MIB1-": "negative", "Fibroblast": "other", "?": "ignore"}

    (field,) = load(tmp_path, "points", labels=labels)

    assert [label for *_, label in places(field)] == [1, 0]
    assert len(field.other_xy_px) == 1


def test_a_label_image_gives_one_centroid_per_number(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "a.png")
    mask = np.zeros((32, 32), np.uint16)
    mask[2:4, 10:13] = 7
    mask[20:22, 20:22] = 300
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.tif")

    (field,) = load(tmp_path, "masks")

    assert places(field) == [(11.5, 3.0, UNCLASSED), (21.0, 21.0, UNCLASSED)]


def test_dark_nuclei_on_white_are_parted_by_opening(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "a.png", 64)
    mask = np.full((64, 64), 255, np.uint8)
    mask[10:21, 10:21] = mask[10:21, 30:41] = 0
    mask[15, 20:30] = 0
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a_mask.png")

    (whole,) = load(tmp_path, "masks", masks="dark")
    (parted,) = load(tmp_path, "masks", masks="dark", opening_px=2, min_area_px=40)

    assert len(whole.label) == 1
    assert [x for x, *_ in places(parted)] == pytest.approx([15.5, 35.5], abs=0.1)


def test_matlab_coordinates_count_from_one(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "img1.png")
    (tmp_path / "annotations").mkdir()
    table = {"detection": np.array([[1.0, 2.0], [0.3, 9.0]])}
    savemat(tmp_path / "annotations" / "img1_detection.mat", table)
    official = tmp_path / "official"
    make_image(official / "Detection" / "img1" / "img1.bmp")
    savemat(official / "Detection" / "img1" / "img1_detection.mat", table)

    (field,), (same,) = load(tmp_path, "uw"), load(official, "uw")

    assert places(field) == [(0.0, 8.5, UNCLASSED), (0.5, 1.5, UNCLASSED)]
    assert places(same) == places(field)


def test_uw_nuclei_of_a_class_that_is_no_tumour_become_others(tmp_path: Path) -> None:
    nuclei = np.array([[3.0, 4.0], [9.0, 9.0], [14.0, 5.0]])
    for root, folder in ((tmp_path / "flat", "annotations"), (tmp_path / "official", None)):
        image = "images/img1.png" if folder else "Detection/img1/img1.bmp"
        make_image(root / image)
        marks = root / (folder or "Detection/img1")
        classes = root / (folder or "Classification/img1")
        for place, name, xy in (
            (marks, "detection", nuclei),
            (classes, "fibroblast", nuclei[1:2] + 0.2),
            (classes, "inflammatory", np.empty((0, 0))),
        ):
            place.mkdir(parents=True, exist_ok=True)
            savemat(place / f"img1_{name}.mat", {"detection": xy})
        labels = {"fibroblast": "other", "inflammatory": "other"}
        (field,) = load(root, "uw", labels=labels)
        assert places(field) == [(2.5, 3.5, UNCLASSED), (13.5, 4.5, UNCLASSED)]
        assert field.other_xy_px.tolist() == [[8.5, 8.5]]


def test_brca_m2c_nuclei_of_a_class_that_is_no_tumour_become_others(tmp_path: Path) -> None:
    name = "TCGA-A7-A0D9-01Z_1_0.99"
    make_image(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / f"{name}_gt_class_coords.txt").write_text("7 3 1\n9 5 2\n2 2 3\n")
    (field,) = load(tmp_path, "brca_m2c", labels={"lymphocyte": "other", "stromal": "other"})
    assert places(field) == [(5.5, 9.5, UNCLASSED)]
    assert sorted(field.other_xy_px.tolist()) == [[2.5, 2.5], [3.5, 7.5]]


def test_brca_m2c_has_y_first_its_split_and_its_patients(tmp_path: Path) -> None:
    names = [f"TCGA-A7-{patient}-01Z_1_0.99" for patient in ("A0D9", "A0DA")]
    for name in names:
        make_image(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}_gt_class_coords.txt").write_text("7 3 1\n9 5 2\n")
    (tmp_path / "brca_ds_test.txt").write_text(f"{names[1]}.png\n")

    (field,) = load(tmp_path, "brca_m2c", split="test")

    assert places(field) == [(3.5, 7.5, UNCLASSED), (5.5, 9.5, UNCLASSED)]
    assert field.group == "TCGA-A7-A0DA"
    assert len(load(tmp_path, "brca_m2c")) == 2


def test_conic_arrays_become_fields_named_by_their_table(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.full((2, 16, 16, 3), 220, np.uint8))
    labels = np.zeros((2, 16, 16, 2), np.uint16)
    labels[1, 4:6, 8:10, 0] = 5
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "patch_info.csv").write_text("patch_info\nconsep_1-0000\nconsep_1-0001\n")

    empty, field = load(tmp_path, "conic")

    assert (len(empty.label), places(field)) == (0, [(9.0, 5.0, UNCLASSED)])
    assert (field.name, field.group) == ("consep_1-0001", "consep_1")


def test_ccrcc_numbers_and_psu_tables_become_cells(tmp_path: Path) -> None:
    make_image(tmp_path / "r" / "images" / "Test" / "a.png")
    (tmp_path / "r" / "labels" / "Test").mkdir(parents=True)
    numbers = np.zeros((32, 32))
    numbers[0:2, 0:2] = 1
    savemat(tmp_path / "r" / "labels" / "Test" / "a.mat", {"instance_map": numbers})
    for name in ("img1", "img2"):
        make_image(tmp_path / "p" / f"{name}.bmp")
    savemat(tmp_path / "p" / "img1.mat", {"points": np.array([[2.0, 3.0]])})
    (tmp_path / "p" / "img2.txt").write_text("2 3\n4,5\n")

    (kidney,) = load(tmp_path / "r", "ccrcc", split="Test")
    first, second = load(tmp_path / "p", "psu")

    assert places(kidney) == [(1.0, 1.0, UNCLASSED)]
    assert places(first) == [(1.5, 2.5, UNCLASSED)]
    assert [x for x, *_ in places(second)] == [2.5, 4.5]


def test_a_point_file_gives_fields_without_pixels(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1 2 3 4 5 10 1 512 6 5 10 1\n2 0\n")

    first, second = load(path, "paper_points")

    assert first.x_px[0] == 3
    assert first.x_px[1] < 512
    assert (len(second.label), second.has_pixels) == (0, False)


REAL: list[tuple[str, str, dict[str, Any], int, int]] = [
    ("bcdata", "bcdata_sample", {}, 18, 2_098),
    ("shidc", "shidc_sample", {}, 19, 2_178),
    ("points", "cd138_sample", {}, 40, 3_608),
    (
        *("masks", "ki67_pilot_masks"),
        *({"masks": "dark", "opening_px": 2, "min_area_px": 40}, 7, 2_011),
    ),
    ("uw", "uw_crchistophenotypes", {}, 100, 29_756),
    ("brca_m2c", "brca_m2c", {}, 120, 30_638),
    ("paper_points", "paper_point_files/BCD_test_gt.txt", {}, 402, 65_432),
    ("paper_points", "paper_point_files/PSU_test_gt.txt", {}, 36, 7_781),
]


@pytest.mark.parametrize(("kind", "folder", "changes", "images", "cells"), REAL)
def test_the_real_sets_have_their_stated_counts(
    ki67_data: Path, kind: str, folder: str, changes: dict[str, Any], images: int, cells: int
) -> None:
    if not (ki67_data / folder).exists():
        pytest.skip(f"the real data lack {folder}")
    fields = load(ki67_data / folder, kind, **changes)

    assert (len(fields), sum(len(field.label) for field in fields)) == (images, cells)


@pytest.mark.parametrize(
    ("kind", "folder"), [("bcdata", "bcdata_sample"), ("uw", "uw_crchistophenotypes")]
)
def test_marked_places_of_real_sets_are_darker_than_their_surroundings(
    ki67_data: Path, kind: str, folder: str
) -> None:
    """A frame that is a pixel off, or x and y swapped, moves the darkest place away."""
    if not (ki67_data / folder).exists():
        pytest.skip(f"the real data lack {folder}")
    fields = load(ki67_data / folder, kind, include=("1", "1?", "img1", "img1?"))

    x_offset, y_offset = np.array([dark_offset(field) for field in fields]).mean(axis=0)

    assert abs(x_offset) < 0.7
    assert abs(y_offset) < 0.7


def dark_offset(field: Field, reach: int = 10) -> tuple[float, float]:
    """Mean centre of gravity of darkness around the marks, in pixels from the mark."""
    side = 2 * reach + 1
    total = np.zeros((side, side))
    step = np.arange(-reach, reach + 1)
    darkness = 255.0 - field.image.mean(axis=2)
    height, width = darkness.shape
    for x, y in zip(field.x_px, field.y_px, strict=True):
        col, row = int(x), int(y)
        if reach <= col < width - reach and reach <= row < height - reach:
            total += darkness[row - reach : row + reach + 1, col - reach : col + reach + 1]
    far = np.hypot(step[:, None], step[None, :])
    weight = np.where(
        far <= 0.8 * reach, np.clip(total - total[far > 0.85 * reach].mean(), 0, None), 0
    )
    return (weight * step).sum() / weight.sum(), (weight * step[:, None]).sum() / weight.sum()


def test_groups_of_the_real_sets_keep_one_field_of_view_together(ki67_data: Path) -> None:
    shidc = {field.group for field in load(ki67_data / "shidc_sample", "shidc")}
    blocks = [field.group for field in load(ki67_data / "bcdata_sample", "bcdata")]

    assert len(shidc) == 8
    assert all(group.startswith("p1_") for group in shidc)
    assert sorted(set(blocks)) == [f"block-{number}" for number in range(5)]
