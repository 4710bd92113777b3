import math
from pathlib import Path

import numpy as np
import pytest
import shapely

from pipeline.core.frame import PlaneFrame
from pipeline.io.areas import (
    AREA_CLASSES,
    Area,
    area_measurements,
    boxes_outline,
    excluded_area,
    hotspot_area,
    mask_outline,
    write_areas,
)
from pipeline.io.cells_text import CLASS_COLOURS
from tests.io.qupath_contract import check_file, read_features


def tissue() -> Area:
    mask = np.zeros((30, 40), bool)
    mask[5:20, 5:30] = True
    mask[10:12, 10:14] = False
    mask[25:28, 33:38] = True
    outline = mask_outline(mask, PlaneFrame(1000, 2000, 32.5, 32.5, 40, 30))
    numbers = area_measurements(index_pct=12.34567, positive=10, negative=71, area_mm2=1.5)
    return Area("Tissue", "tissue", outline, numbers, {"model": "m", "mpp": "0.25"})


def test_areas_are_annotations_as_qupath_wants_them(tmp_path: Path) -> None:
    tiles = Area("Unreadable tiles", "unreadable", boxes_outline([(0, 0, 9, 9), (9, 0, 18, 9)]))
    path = tmp_path / "areas.geojson"
    write_areas(path, [tissue(), tiles], slide_id="a-1", offset_x_l0=1000, offset_y_l0=2000)
    assert check_file(path) == {"Tissue": 1, "Unreadable": 1}
    first, second = read_features(path)
    properties = first["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["isLocked"] is True
    assert properties["measurements"] == {
        "AI Ki-67 index %": 12.3457,
        "AI positive": 10.0,
        "AI negative": 71.0,
        "AI area mm2": 1.5,
    }
    assert properties["metadata"] == {"model": "m", "mpp": "0.25"}
    written = shapely.geometry.shape(first["geometry"])
    moved = shapely.affinity.translate(tissue().geometry, -1000, -2000)
    assert written.is_valid
    assert written.symmetric_difference(moved).area < 1
    assert second["geometry"]["type"] == "Polygon"
    assert "measurements" not in second["properties"]


def test_ids_are_stable_and_differ_between_slides_and_between_equal_names(tmp_path: Path) -> None:
    found = []
    for name, slide_id in (("a", "s-1"), ("b", "s-1"), ("c", "s-2")):
        path = tmp_path / f"{name}.geojson"
        write_areas(path, [tissue(), tissue()], slide_id=slide_id, offset_x_l0=0, offset_y_l0=0)
        found.append([feature["id"] for feature in read_features(path)])
    assert found[0] == found[1]
    assert len({*found[0], *found[2]}) == 4
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()


def test_no_areas_are_an_empty_collection(tmp_path: Path) -> None:
    write_areas(tmp_path / "areas.geojson", [], slide_id="a", offset_x_l0=0, offset_y_l0=0)
    assert read_features(tmp_path / "areas.geojson") == []


def test_what_qupath_would_refuse_is_refused_here() -> None:
    square = shapely.box(0, 0, 1, 1)
    with pytest.raises(ValueError, match="not empty"):
        Area("a", "tissue", shapely.MultiPolygon())
    with pytest.raises(ValueError, match="must be a polygon"):
        Area("a", "tissue", shapely.GeometryCollection([square]))
    with pytest.raises(ValueError, match="Self-intersection"):
        Area("a", "tissue", shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]))
    with pytest.raises(ValueError, match="not finite"):
        Area("a", "tissue", shapely.box(0, 0, math.inf, 1))
    with pytest.raises(ValueError, match="not finite"):
        Area("a", "tissue", square, {"AI area mm2": math.nan})
    with pytest.raises(ValueError, match="computes itself"):
        Area("a", "tissue", square, {"Num Positive": 3})
    with pytest.raises(ValueError, match="one Polygon"):
        Area("a", "hotspot", shapely.MultiPolygon([square]), ellipse=True)
    with pytest.raises(ValueError, match="none of tissue"):
        Area("a", "glass", square)


def hotspot(x_l0: float = 3000.0) -> Area:
    return hotspot_area(
        rank=1,
        x_l0=x_l0,
        y_l0=4000.0,
        radius_um=100.0,
        mpp=(0.25, 0.5),
        measurements=area_measurements(index_pct=40.0),
        metadata={},
    )


def test_a_hotspot_is_a_true_ellipse_whose_box_is_its_radius_on_each_axis(tmp_path: Path) -> None:
    path = tmp_path / "areas.geojson"
    write_areas(path, [hotspot()], slide_id="a", offset_x_l0=1000, offset_y_l0=2000)
    assert check_file(path) == {"Hotspot": 1}
    (feature,) = read_features(path)
    assert feature["geometry"]["isEllipse"] is True
    assert feature["properties"]["name"] == "Hotspot 1"
    outline = shapely.geometry.shape(feature["geometry"])
    assert outline.bounds == (2000 - 400, 2000 - 200, 2000 + 400, 2000 + 200)
    assert outline.area == pytest.approx(math.pi * 400 * 200, rel=0.01)


def test_an_excluded_area_says_why_in_its_name_and_its_metadata(tmp_path: Path) -> None:
    area = excluded_area(
        "out_of_focus", shapely.box(0, 0, 9, 9), measurements={}, metadata={"m": "1"}
    )
    write_areas(tmp_path / "areas.geojson", [area], slide_id="a", offset_x_l0=0, offset_y_l0=0)
    (feature,) = read_features(tmp_path / "areas.geojson")
    assert feature["properties"]["name"] == "Excluded: out of focus"
    assert feature["properties"]["metadata"] == {"m": "1", "reason": "out_of_focus"}
    assert feature["properties"]["classification"]["name"] == "Excluded"


def test_what_reaches_beyond_the_slide_is_cut_and_what_lies_outside_is_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "areas.geojson"
    areas = [tissue(), hotspot(x_l0=1100.0), hotspot(x_l0=90_000.0)]
    write_areas(path, areas, slide_id="a", offset_x_l0=1000, offset_y_l0=2000, size_px=(1000, 2500))
    assert check_file(path) == {"Tissue": 1, "Hotspot": 1}
    for feature in read_features(path):
        x0, y0, x1, y1 = shapely.geometry.shape(feature["geometry"]).bounds
        assert 0 <= x0 < x1 <= 1000
        assert 0 <= y0 < y1 <= 2500
        assert "isEllipse" not in feature["geometry"]


def test_colour_blind_readers_tell_the_kinds_apart() -> None:
    palette = [np.array(colour, float) for _, colour in AREA_CLASSES.values()]
    palette += [np.array(colour, float) for colour in CLASS_COLOURS.values()]
    # what red-green blindness leaves: luminance and the blue-yellow axis (deuteranopia, linear)
    seen = [np.array([0.37 * r + 0.63 * g, b]) for r, g, b in palette]
    pairs = [(a, b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(float(np.linalg.norm(a - b)) for a, b in pairs) > 20


def test_other_suffixes_are_refused_because_qupath_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="geojson"):
        write_areas(tmp_path / "areas.txt", [], slide_id="a", offset_x_l0=0, offset_y_l0=0)


def test_unknown_numbers_are_left_out() -> None:
    assert area_measurements(positive=0) == {"AI positive": 0.0}
