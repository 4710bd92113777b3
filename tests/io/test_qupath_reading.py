"""What is written, read by QuPath's rules: objects, classes, positives and bounds are ours."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from pipeline.core.points import CellPoints
from pipeline.io.areas import Area, area_measurements, excluded_area, hotspot_area, write_areas
from pipeline.io.cells_text import CellShape, write_cells_geojson
from pipeline.io.pictures import index_colour
from pipeline.io.qupath_maps import (
    MOST_TILES,
    QupathFrame,
    TileKind,
    write_density_png,
    write_tiles,
)
from tests.io.qupath_contract import check_file
from tests.io.qupath_reader import PathObject, QupathError, read_objects

FRAME = QupathFrame(1000, 2000, 8050, 6010, (0.25, 0.25))


def cells_in_frame(count: int, seed: int = 0) -> CellPoints:
    rng = np.random.default_rng(seed)
    return CellPoints(
        rng.uniform(FRAME.x_l0, FRAME.x_l0 + FRAME.width, count),
        rng.uniform(FRAME.y_l0, FRAME.y_l0 + FRAME.height, count),
        rng.random(count, np.float32),
        (rng.random(count) < 0.3).astype(np.uint8),
    )


def whole_bounds(objects: list[PathObject]) -> list[float]:
    boxes = np.array([found.bounds for found in objects])
    return [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]


@pytest.mark.parametrize("shape", ["point", "circle"])
def test_cells_are_detections_with_our_classes_positives_and_bounds(
    tmp_path: Path, shape: CellShape
) -> None:
    points, radius = cells_in_frame(3000), 0.0 if shape == "point" else 12.0
    (path,) = write_cells_geojson(
        tmp_path, points, offset_x_l0=1000, offset_y_l0=2000, radius_px=12.0, shape=shape
    )
    objects = read_objects(path)
    assert Counter(found.kind for found in objects) == {"detection": 3000}
    assert {found.roi for found in objects} == {"points" if shape == "point" else "ellipse"}
    assert Counter(found.path_class for found in objects) == {
        ("Positive",): points.positive,
        ("Negative",): points.negative,
    }
    assert [found.is_positive for found in objects] == (points.label == 1).tolist()
    ours = [
        points.x_l0.min() - 1000 - radius,
        points.y_l0.min() - 2000 - radius,
        points.x_l0.max() - 1000 + radius,
        points.y_l0.max() - 2000 + radius,
    ]
    assert whole_bounds(objects) == pytest.approx(ours, abs=0.11)
    centres = np.array(
        [[(b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for b in (o.bounds for o in objects)]
    )
    away = np.hypot(centres[:, 0] - (points.x_l0 - 1000), centres[:, 1] - (points.y_l0 - 2000))
    assert away.max() < 0.15


def test_areas_are_annotations_inside_the_image_with_our_numbers(tmp_path: Path) -> None:
    hole = shapely.box(900, 1900, 5000, 5000).difference(shapely.box(2000, 3000, 2500, 3500))
    numbers = area_measurements(index_pct=12.5, positive=1, negative=7, area_mm2=1.0)
    areas = [
        Area("Tissue", "tissue", hole, numbers, {"model": "m"}),
        excluded_area("pen", shapely.box(2000, 3000, 2500, 3500), measurements={}, metadata={}),
        hotspot_area(
            rank=1,
            x_l0=4000,
            y_l0=4000,
            radius_um=250,
            mpp=(0.25, 0.25),
            measurements=numbers,
            metadata={},
        ),
    ]
    path = tmp_path / "areas.geojson"
    write_areas(path, areas, slide_id="a", offset_x_l0=1000, offset_y_l0=2000, size_px=(8050, 6010))
    tissue, pen, hotspot = read_objects(path)
    assert [o.kind for o in (tissue, pen, hotspot)] == ["annotation"] * 3
    assert [o.roi for o in (tissue, pen, hotspot)] == ["geometry", "rectangle", "ellipse"]
    assert [o.path_class for o in (tissue, pen, hotspot)] == [
        ("Tissue",),
        ("Excluded",),
        ("Hotspot",),
    ]
    assert (pen.name, hotspot.name) == ("Excluded: pen", "Hotspot 1")
    assert tissue.bounds == (0, 0, 4000, 3000)
    assert hotspot.bounds == (2000, 1000, 4000, 3000)
    assert tissue.measurements == numbers
    assert read_objects(path)[0].identity == tissue.identity


@pytest.mark.parametrize("kind", ["tile", "annotation"])
def test_squares_hold_every_cell_lie_in_the_image_and_show_the_index_of_their_cells(
    tmp_path: Path, kind: TileKind
) -> None:
    points = cells_in_frame(900)
    path = tmp_path / "a.tiles.geojson"
    assert write_tiles(path, points, FRAME, slide_id="a", kind=kind) == 256.0
    check_file(path)
    objects = read_objects(path)
    assert {(found.kind, found.roi, found.path_class) for found in objects} == {
        (kind, "rectangle", ())
    }
    assert sum(found.measurements["AI positive"] for found in objects) == points.positive
    assert sum(found.measurements["AI negative"] for found in objects) == points.negative
    x0, y0, x1, y1 = whole_bounds(objects)
    assert (x0, y0, x1, y1) == (0, 0, 8050, 6010)
    x, y = points.x_l0 - 1000, points.y_l0 - 2000
    for found in objects:
        left, top, right, bottom = found.bounds
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        chosen = points.take(inside)
        area_mm2 = (right - left) * (bottom - top) * 0.0625e-6
        index = 100 * chosen.positive / len(chosen)
        assert found.measurements["AI Ki-67 index %"] == pytest.approx(index, abs=1e-3)
        assert found.measurements["AI cells per mm2"] == pytest.approx(
            len(chosen) / area_mm2, abs=0.06
        )
    again = read_objects(path)
    assert ([o.identity for o in again] == [o.identity for o in objects]) == (kind == "annotation")


def test_squares_grow_until_qupath_can_bear_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_TILES == 50_000
    monkeypatch.setattr("pipeline.io.qupath_maps.MOST_TILES", 20)
    path = tmp_path / "a.tiles.geojson"
    side = write_tiles(path, cells_in_frame(3000), FRAME, slide_id="a")
    assert side == 512.0
    assert len(read_objects(path)) <= 20
    with pytest.raises(ValueError, match="must be positive"):
        write_tiles(path, cells_in_frame(3), FRAME, slide_id="a", tile_um=0.0)


def test_the_density_picture_covers_qupaths_image_to_its_last_pixel(tmp_path: Path) -> None:
    edge = 0.5
    corners_x, corners_y = (1000 + edge, 9050 - edge), (2000 + edge, 8010 - edge)
    points = CellPoints(
        np.array([corners_x[0], corners_x[1], corners_x[0], corners_x[1]]),
        np.array([corners_y[0], corners_y[0], corners_y[1], corners_y[1]]),
        np.ones(4, np.float32),
        np.array([1, 0, 0, 1], np.uint8),
    )
    write_density_png(tmp_path / "a.png", points, FRAME)
    with Image.open(tmp_path / "a.png") as opened:
        pixels = np.asarray(opened)
    assert opened.mode == "RGBA"
    height, width = pixels.shape[:2]
    assert width / height == pytest.approx(8050 / 6010, rel=0.02)
    assert width == round(8050 * 0.25 / 50)
    alpha = pixels[..., 3] > 0
    assert np.argwhere(alpha).tolist() == [
        [0, 0],
        [0, width - 1],
        [height - 1, 0],
        [height - 1, width - 1],
    ]
    expected = np.rint(index_colour(np.array([100.0, 0.0, 0.0, 100.0])))
    assert pixels[alpha][:, :3].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"properties": None}, "must be an object"),
        ({"properties": {"classification": {"name": "Positive"}}}, "needs a colour"),
        ({"properties": {"classification": {"name": "P", "color": -3657166}}}, "needs a colour"),
        ({"properties": {"name": None}}, "no text"),
        ({"properties": {"measurements": {"a": "much"}}}, "measurement a"),
        ({"geometry": None}, "no geometry"),
        ({"geometry": {"type": "GeometryCollection", "geometries": []}}, "no geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}}, "closed"),
        ({"geometry": {"type": "Point", "coordinates": [0, 0], "plane": {"w": 1}}}, "plane"),
    ],
)
def test_the_reader_fails_where_qupath_fails(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    good: dict[str, Any] = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "properties": {},
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [good]}))
    (found,) = read_objects(path)
    assert (found.kind, found.path_class) == ("annotation", ())  # QuPath's defaults, not ours
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [good, good | change]}))
    with pytest.raises(QupathError, match=message):
        read_objects(path)
    path.rename(tmp_path / "a.geojsonl")
    assert read_objects(tmp_path / "a.geojsonl") == []
