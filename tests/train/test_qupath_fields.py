"""Annotations exported from QuPath become fields: rectangles on slides, whole pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.datasets import load_fields
from pipeline.train.fields import Field

SIDE = 512


def load(folder: Path, **changes: Any) -> list[Field]:
    values = {"name": "mine", "kind": "qupath", "path": str(folder)}
    return load_fields(SourceConfig.model_validate(values | changes))


def feature(kind: str, geometry: str, coordinates: Any, word: str | None) -> dict[str, Any]:
    properties = {"objectType": kind, "classification": {"name": word} if word else None}
    shape = {"type": geometry, "coordinates": coordinates}
    return {"type": "Feature", "geometry": shape, "properties": properties}


def area(x0: float, y0: float, x1: float, y1: float, word: str | None = None) -> dict[str, Any]:
    corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return feature("annotation", "Polygon", [corners], word)


def point(x: float, y: float, word: str | None) -> dict[str, Any]:
    return feature("detection", "Point", [x, y], word)


def export(folder: Path, name: str, *features: dict[str, Any]) -> None:
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / name).write_text(text)


def write_slide(path: Path, *, mpp: float | None = 0.25) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    resolution: dict[str, Any] = {}
    if mpp is not None:
        resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", metadata=None, **resolution)
    return pixels


def test_every_rectangle_on_a_slide_is_a_field_of_the_slides_own_pixels(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "case 1.tif")
    export(
        tmp_path,
        "case 1.geojson",
        area(100, 50, 164, 98, "Region"),
        area(300, 300, 332, 332),
        point(110.25, 60.5, "Positive"),
        point(120, 61, "Tumor: Negative"),
        point(130, 62, "Immune cells"),
        point(310, 310, "Negative"),
    )

    first, second = load(tmp_path)

    assert (first.name, second.name) == ("case 1-1", "case 1-2")
    assert {first.group, second.group} == {"case 1"}
    assert np.array_equal(first.image, pixels[50:98, 100:164])
    assert (first.x_px.tolist(), first.y_px.tolist()) == ([10.25, 20], [10.5, 11])
    assert first.label.tolist() == [POSITIVE, NEGATIVE]
    assert first.other_xy_px.tolist() == [[30, 12]]
    assert (first.mpp_um, len(second.label)) == (0.25, 1)


def test_slides_may_lie_elsewhere_and_be_named_with_their_suffix(tmp_path: Path) -> None:
    for name in ("notes", "slides"):
        (tmp_path / name).mkdir()
    write_slide(tmp_path / "slides" / "s.tif", mpp=None)
    write_slide(tmp_path / "slides" / "s.svs", mpp=None)
    export(tmp_path / "notes", "s.tif.geojson", area(0, 0, 64, 64), point(5, 5, "Positive"))

    (field,) = load(tmp_path / "notes", slides=str(tmp_path / "slides"), mpp_um=0.3)

    assert field.mpp_um == 0.3


def test_a_picture_without_a_rectangle_is_a_whole_field(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "white").save(tmp_path / "f.png")
    points = feature("annotation", "MultiPoint", [[1, 2], [3, 4]], "Negative")
    export(tmp_path, "f.geojson", points)

    (field,) = load(tmp_path, mpp_um=0.25)

    assert (field.name, field.image.shape, field.label.tolist()) == ("f", (60, 80, 3), [0, 0])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([point(5, 5, "Positive")], "no annotated rectangle; draw one around each area"),
        (
            [area(0, 0, 64, 64), point(5, 5, "Positive"), point(99, 70, "Positive")],
            r"1 marked cells lie outside every rectangle, the first at \(99, 70\)",
        ),
        (
            [area(0, 0, 64, 64), area(32, 0, 96, 64), point(40, 5, "Positive")],
            r"two rectangles overlap at \(40, 5\); move them apart",
        ),
        ([area(0, 0, 64, 64), point(5, 5, None)], "point 1: unknown label none; known: positive"),
        ([area(0, 0, 64, 64), point(5, 5, "Mitosis")], "point 1: unknown label 'Mitosis'"),
        ([area(0, 0, 9999, 64)], "reaches beyond the image of 512 x 512 px that QuPath shows"),
    ],
)
def test_a_fault_in_an_export_is_one_clear_line(
    tmp_path: Path, features: list[dict[str, Any]], message: str
) -> None:
    write_slide(tmp_path / "s.tif")
    export(tmp_path, "s.geojson", *features)

    with pytest.raises(AnnotationError, match=message) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_slides_that_are_missing_doubled_or_silent_are_named(tmp_path: Path) -> None:
    export(tmp_path, "s.geojson", area(0, 0, 64, 64), point(5, 5, "Positive"))
    with pytest.raises(
        AnnotationError, match=r"an annotation without its slide; put a slide s\.\*"
    ):
        load(tmp_path)

    write_slide(tmp_path / "s.tif", mpp=None)
    with pytest.raises(AnnotationError, match=r"no micrometres per pixel.*pass mpp_um \(--mpp\)"):
        load(tmp_path)

    (tmp_path / "s.png").write_bytes(b"")
    with pytest.raises(AnnotationError, match=r"fits s\.png, s\.tif; name it after one"):
        load(tmp_path)


def test_own_class_words_are_told_in_the_settings(tmp_path: Path) -> None:
    write_slide(tmp_path / "s.tif")
    export(tmp_path, "s.geojson", area(0, 0, 64, 64), point(5, 5, "Mitosis"), point(9, 9, "Debris"))

    (field,) = load(tmp_path, labels={"mitosis": "positive", "debris": "ignore"})

    assert field.label.tolist() == [POSITIVE]


def test_a_mark_on_the_border_of_a_rectangle_is_inside_as_in_qupath(tmp_path: Path) -> None:
    write_slide(tmp_path / "s.tif")
    export(tmp_path, "s.geojson", area(8, 8, 64, 64), point(64, 8, "Positive"))

    (field,) = load(tmp_path)

    assert 55 < field.x_px[0] < 56
    assert field.y_px[0] == 0
