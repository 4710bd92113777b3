"""Regions of interest are read in every form QuPath writes, and refused in one line otherwise."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.core.tiling import Box
from pipeline.errors import AnnotationError
from pipeline.io import annotation_polygons
from pipeline.io.annotations import (
    Roi,
    RoiClasses,
    find_roi,
    list_rois,
    read_roi,
    unused_rois,
)

CLASSES = RoiClasses(("Tumor", "Region*"), ("Necrosis", "Ignore*"))
BOUNDS = Box(1000, 2000, 5000, 5000)
SQUARE = [[100, 100], [1100, 100], [1100, 1100], [100, 1100], [100, 100]]
HOLE = [[300, 300], [500, 300], [500, 500], [300, 500], [300, 300]]


def feature(
    coordinates: Any = None,
    name: str | None = "Tumor",
    *,
    kind: str = "Polygon",
    object_type: str = "annotation",
    **geometry: Any,
) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": object_type}
    if name:
        properties["classification"] = {"name": name, "color": [1, 2, 3]}
    shape = {"type": kind, "coordinates": [SQUARE] if coordinates is None else coordinates}
    return {"type": "Feature", "geometry": shape | geometry, "properties": properties}


def collection(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def read(folder: Path, value: Any, name: str = "a.geojson") -> Roi:
    path = folder / name
    text = value if isinstance(value, str) else json.dumps(value)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return read_roi(path, bounds=BOUNDS, classes=CLASSES)


def contains(roi: Roi, x_px: float, y_px: float) -> bool:
    """Ask in QuPath's pixels: the bounds are added back."""
    return bool(roi.contains(np.array([x_px + 1000.0]), np.array([y_px + 2000.0]))[0])


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.geojson.gz", "a.json.gz", "A.GeoJSON"])
@pytest.mark.parametrize(
    "form",
    [collection(feature()), [feature()], feature(), feature()["geometry"]],
    ids=["collection", "list", "feature", "geometry"],
)
def test_every_form_is_read_in_the_frame_of_qupath(tmp_path: Path, form: Any, name: str) -> None:
    roi = read(tmp_path, form, name)
    assert contains(roi, 600, 600)
    assert not contains(roi, 1200, 600)
    assert (roi.name, len(roi.sha256)) == (name, 64)


def test_holes_parts_and_excluded_classes_are_left_out(tmp_path: Path) -> None:
    far = [[2000, 2000], [2200, 2000], [2200, 2200], [2000, 2200], [2000, 2000]]
    dead = [[[800, 800], [900, 800], [900, 900], [800, 900], [800, 800]]]
    value = collection(
        feature([[SQUARE, HOLE], [far]], kind="MultiPolygon"),
        feature(dead, "Necrosis"),
        feature([far], "Stroma"),
        feature([far], object_type="detection"),
        feature([1, 2], kind="Point"),
    )
    roi = read(tmp_path, value)
    found = [contains(roi, x, x) for x in (200, 400, 600, 850, 950, 2100)]
    assert found == [True, False, True, False, True, True]
    assert roi.include_classes == ("Tumor",)
    assert (roi.exclude_classes, roi.unused_classes) == (("Necrosis",), ("Stroma",))


def test_annotations_without_a_class_count_where_no_class_does(tmp_path: Path) -> None:
    assert contains(read(tmp_path, collection(feature(name=None))), 600, 600)
    far = [[[2000, 2000], [2200, 2000], [2200, 2200], [2000, 2000]]]
    both = read(tmp_path, collection(feature(far), feature(name=None)))
    assert not contains(both, 600, 600)
    assert both.unused_classes == ("(no class)",)


def test_only_excluded_areas_leave_the_rest_and_name_no_cells(tmp_path: Path) -> None:
    roi = read(tmp_path, collection(feature(name="Ignore*")))
    assert (roi.names_cells, contains(roi, 600, 600), contains(roi, 2000, 2000)) == (
        False,
        False,
        True,
    )


def test_derived_and_listed_classes_are_known_by_their_first_part(tmp_path: Path) -> None:
    derived = feature(name="Tumor: Viable")
    listed = feature()
    listed["properties"]["classification"] = {"names": ["tumor", "Viable"]}
    for value in (derived, listed):
        assert contains(read(tmp_path, value), 600, 600)


def test_an_outline_that_crosses_itself_is_repaired_and_counted(tmp_path: Path) -> None:
    bow = [[[0, 0], [1000, 1000], [1000, 0], [0, 1000], [0, 0]]]
    roi = read(tmp_path, feature(bow))
    assert roi.repaired == 1
    found = [contains(roi, *at) for at in ((100, 500), (900, 500), (500, 100), (500, 900))]
    assert found == [True, True, False, False]


def test_an_ellipse_is_one(tmp_path: Path) -> None:
    roi = read(tmp_path, feature(isEllipse=True))
    assert contains(roi, 600, 600)
    assert not contains(roi, 120, 120)


REFUSED = {
    "not JSON": ("{", "not JSON"),
    "no features": ({"type": "Topology"}, "no GeoJSON features"),
    "empty": (collection(), "no annotation with an area"),
    "points only": (collection(feature([1, 2], kind="Point")), "no annotation with an area"),
    "other classes": (collection(feature(name="Stroma")), "found Stroma"),
    "two points": (collection(feature([[[0, 0], [1, 1]]])), "rings"),
    "no area": (collection(feature([[[0, 0], [5, 5], [9, 9], [0, 0]]])), "no area"),
    "not a number": ('[{"type":"Feature","geometry":{"type":"Polygon","coordinates":'
                     "[[[NaN,0],[1,0],[1,1],[NaN,0]]]}}]", "finite"),
    "huge number": (collection(feature([[[10**400, 0], [1, 0], [1, 1], [0, 0]]])), "finite"),
    "words": (collection(feature([[["a", "b"]] * 4])), "rings"),
    "outside": (collection(feature([[[9e4, 9e4], [9.1e4, 9e4], [9.1e4, 9.1e4], [9e4, 9e4]]])),
                "outside the slide"),
    "covered": (collection(feature(), feature(name="Necrosis")), "cover the whole region"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "no geometry": (collection({"type": "Feature"}), "no geometry"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_region_is_refused_in_one_line(tmp_path: Path, value: Any, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason) as caught:
        read(tmp_path, value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("a.geojson: ")


def test_an_enormous_file_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation_polygons, "MOST_BYTES", 1 << 20)
    with pytest.raises(AnnotationError, match="larger than"):
        read(tmp_path, " " * (2 << 20), "bomb.geojson.gz")


def test_a_point_on_a_shared_border_is_in_one_of_two_regions(tmp_path: Path) -> None:
    left = [[[0, 0], [500, 0], [500, 900], [0, 900], [0, 0]]]
    right = [[[500, 0], [900, 0], [900, 900], [500, 900], [500, 0]]]
    rois = [read(tmp_path, feature(half)) for half in (left, right)]
    assert sum(contains(roi, 500, 450) for roi in rois) == 1


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_a_mask_is_scaled_to_the_slide_whatever_its_pixels(
    tmp_path: Path, name: str, mode: str
) -> None:
    inside = np.zeros((30, 40), bool)
    inside[:15, 20:] = True
    path = tmp_path / name
    if mode == "I;16":
        pixels: Any = inside.astype(np.uint16) * 300
    elif mode in {"RGB", "RGBA"}:
        pixels = np.repeat((inside * 200).astype(np.uint8)[..., None], len(mode), axis=2)
        pixels[..., 3:] = 255
    else:
        pixels = inside.astype(np.uint8)
    if name.endswith(".png"):
        picture = Image.fromarray(pixels)
        if mode == "P":
            picture.putpalette([255, 255, 255, 0, 0, 0])
        picture.save(path)
        if mode == "1":
            Image.fromarray(inside).save(path)
    else:
        tifffile.imwrite(path, pixels)
    roi = read_roi(path, bounds=BOUNDS, classes=CLASSES)
    assert contains(roi, 2100, 100)
    assert contains(roi, 3999.9, 0.5)
    assert not contains(roi, 1990, 100)
    assert not contains(roi, 2100, 1600)


def test_masks_that_fit_no_slide_are_refused(tmp_path: Path) -> None:
    for pixels, reason in (
        (np.zeros((30, 40), np.uint8), "every pixel is 0"),
        (np.ones((30, 30), np.uint8), "not the shape of the slide"),
    ):
        Image.fromarray(pixels).save(tmp_path / "a.png")
        with pytest.raises(AnnotationError, match=reason):
            read_roi(tmp_path / "a.png", bounds=BOUNDS, classes=CLASSES)
    (tmp_path / "a.png").write_bytes(b"\x89PNG no picture")
    with pytest.raises(AnnotationError, match="cannot be read as an image"):
        read_roi(tmp_path / "a.png", bounds=BOUNDS, classes=CLASSES)


def test_files_are_found_by_id_name_and_stem_and_the_rest_is_named(tmp_path: Path) -> None:
    for name in ("a-1234.geojson", "B.svs.json", "c.png", "odd.geojson", ".c.tif", "notes.txt"):
        (tmp_path / name).touch()
    files = list_rois(tmp_path)
    named = {"a-1234": "x/a.svs", "b-1": "x/b.svs", "c-2": "c.ndpi", "d-3": "d.svs"}
    found = {slide: find_roi(files, slide_id=slide, name=name) for slide, name in named.items()}
    assert [path.name if path else None for path in found.values()] == [
        "a-1234.geojson",
        "B.svs.json",
        "c.png",
        None,
    ]
    assert unused_rois(files, [path for path in found.values() if path]) == ["odd.geojson"]
    (tmp_path / "c.geojson").touch()
    with pytest.raises(AnnotationError, match="more than one"):
        find_roi(list_rois(tmp_path), slide_id="c-2", name="c.ndpi")
    with pytest.raises(AnnotationError, match="no folder"):
        list_rois(tmp_path / "nowhere")


def test_a_million_points_take_seconds(tmp_path: Path) -> None:
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    radius = 900 + 300 * np.sin(40 * turn)
    ring = np.stack([1500 + radius * np.cos(turn), 1500 + radius * np.sin(turn)], axis=1).tolist()
    roi = read(tmp_path, feature([[*ring, ring[0]]]))
    points = np.random.default_rng(1).uniform(0, 3000, (2, 1_000_000))
    inside = roi.contains(points[0] + 1000, points[1] + 2000)
    area = float(np.pi * (900**2 + 300**2 / 2))
    assert inside.mean() == pytest.approx(area / 3000**2, rel=0.01)
