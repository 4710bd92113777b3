"""Each data set's own form is read, and each fault in it is one clear line."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.datasets import load_fields


def make_image(path: Path, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), 200, np.uint8)).save(path)


def source(folder: Path, kind: str, **changes: Any) -> SourceConfig:
    values = {"name": "set", "kind": kind, "path": str(folder), "mpp_um": 0.25}
    return SourceConfig.model_validate(values | changes)


def write_bcdata(folder: Path, number: int, positive: Any, negative: Any) -> None:
    make_image(folder / "images" / f"{number}.png")
    for word, points in (("positive", positive), ("negative", negative)):
        path = folder / "annotations" / word / f"{number}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as stored:
            stored["coordinates"] = np.array(points, np.int64)


def write_shidc(folder: Path, stem: str, rows: list[dict[str, int]]) -> None:
    make_image(folder / "images" / f"{stem}.jpg")
    path = folder / "annotations" / f"{stem}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))


def write_points(folder: Path, *rows: str) -> None:
    make_image(folder / "images" / "a_1.png")
    (folder / "points.csv").write_text("\n".join(["image,x,y,label", *rows, ""]))


def test_bcdata_points_are_pixel_centres_with_their_class(tmp_path: Path) -> None:
    write_bcdata(tmp_path, 5, [[3, 4]], np.empty((0, 2)))

    (field,) = load_fields(source(tmp_path, "bcdata"))

    assert (field.x_px.tolist(), field.y_px.tolist(), field.label.tolist()) == ([3.5], [4.5], [1])
    assert field.group == "block-1"


def test_shidc_lymphocytes_are_left_out_and_crops_of_a_field_are_one_group(tmp_path: Path) -> None:
    rows = [{"x": 1, "y": 2, "label_id": code} for code in (1, 2, 3)]
    write_shidc(tmp_path, "p1_0299_1", rows)
    write_shidc(tmp_path, "p1_0299_9", [])

    fields = load_fields(source(tmp_path, "shidc"))

    assert [field.label.tolist() for field in fields] == [[1, 0], []]
    assert {field.group for field in fields} == {"p1_0299"}


def test_a_points_table_is_read_with_unknown_classes_and_empty_images(tmp_path: Path) -> None:
    write_points(tmp_path, "a_1.png,3,4.5,cell", "b.png,,,")
    make_image(tmp_path / "images" / "b.png")

    fields = load_fields(source(tmp_path, "points"))

    assert [field.name for field in fields] == ["a_1", "b"]
    assert (fields[0].y_px.tolist(), fields[0].label.tolist()) == ([5.0], [255])
    assert len(fields[1].label) == 0


def test_patterns_choose_images_by_name(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write_bcdata(tmp_path, number, [[1, 1]], [[2, 2]])

    chosen = load_fields(source(tmp_path, "bcdata", include=("?",), exclude=("2",)))

    assert [field.name for field in chosen] == ["1"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a_1.png,99,4,positive", r"a_1: point 1 at \(99.5, 4.5\) is outside"),
        ("a_1.png,nan,4,positive", "a_1: point 1 has a coordinate that is no number"),
        ("a_1.png,3,4,tumor", r"points.csv:2: unknown label 'tumor'; known: positive"),
        ("a_1.png,3,four,positive", "points.csv:2: x or y is no number"),
        ("a_1.png,3", "points.csv:2: the columns image, x, y, label are needed"),
        ("b.png,3,4,positive", "a_1.png: no annotation in .*points.csv"),
    ],
)
def test_a_fault_in_a_points_table_is_one_clear_line(
    tmp_path: Path, row: str, message: str
) -> None:
    write_points(tmp_path, row)

    with pytest.raises(AnnotationError, match=message) as raised:
        load_fields(source(tmp_path, "points"))
    assert "\n" not in str(raised.value)


def test_an_image_without_its_annotation_file_is_named(tmp_path: Path) -> None:
    write_bcdata(tmp_path, 1, [[1, 1]], [[2, 2]])
    (tmp_path / "annotations" / "negative" / "1.h5").unlink()

    with pytest.raises(AnnotationError, match=r"negative/1.h5: the image's annotation is missing"):
        load_fields(source(tmp_path, "bcdata"))


def test_an_unknown_shidc_code_is_named(tmp_path: Path) -> None:
    write_shidc(tmp_path, "p1_1_1", [{"x": 1, "y": 2, "label_id": 9}])

    with pytest.raises(AnnotationError, match="point 1 has unknown label_id 9"):
        load_fields(source(tmp_path, "shidc"))


def test_a_missing_folder_and_a_fitting_nothing_pattern_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no folder"):
        load_fields(source(tmp_path / "none", "bcdata"))
    write_bcdata(tmp_path, 1, [[1, 1]], [[2, 2]])
    with pytest.raises(AnnotationError, match="fits its patterns"):
        load_fields(source(tmp_path, "bcdata", include=("zzz",)))


@pytest.mark.parametrize(
    ("folder", "kind", "images", "cells"),
    [("bcdata_sample", "bcdata", 18, 2098), ("shidc_sample", "shidc", 19, None)],
)
def test_the_real_sets_are_read_whole(
    ki67_data: Path, folder: str, kind: str, images: int, cells: int | None
) -> None:
    fields = load_fields(source(ki67_data / folder, kind))

    assert len(fields) == images
    own = sum(len(field.label) for field in fields)
    table = load_fields(source(ki67_data / folder, "points", exclude=("p1_0299_10", "p1_0310_8")))
    if cells is not None:
        assert own == cells
        assert own == sum(len(field.label) for field in table)
    for field in table:
        twin = next(other for other in fields if other.name == field.name)
        assert sorted(field.x_px) == sorted(twin.x_px)
