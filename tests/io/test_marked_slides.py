"""Areas drawn in QuPath on a slide are read from the slide itself, where QuPath shows them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import AnnotationError
from pipeline.io.marked_slides import MarkedArea, open_marked, read_area, read_marked_slide

Feature = dict[str, Any]


def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[list[float]]]:
    return [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]


def feature(kind: str, geometry: str, coordinates: Any, word: Any = None) -> Feature:
    properties: dict[str, Any] = {"objectType": kind}
    if word is not None:
        properties["classification"] = word
    shape = {"type": geometry, "coordinates": coordinates}
    return {"type": "Feature", "geometry": shape, "properties": properties}


def write(path: Path, *features: Feature) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_points_detections_and_cells_are_marks_and_tiles_are_not(tmp_path: Path) -> None:
    cell = feature("cell", "Polygon", ring(0, 0, 90, 90), {"names": ["Tumor", "Positive"]})
    cell["nucleusGeometry"] = {"type": "Polygon", "coordinates": ring(10, 10, 14, 18)}
    path = write(
        tmp_path / "a.geojson",
        feature("annotation", "MultiPoint", [[1.5, 2.5], [3, 4]], {"name": "Negative"}),
        feature("detection", "Point", [5, 6], "Positive"),
        cell,
        feature("tile", "Polygon", ring(0, 0, 9, 9)),
        feature("annotation", "LineString", [[0, 0], [1, 1]]),
        feature("detection", "Point", [7, 7], {"name": "Ignore*", "color": [1, 2, 3]}),
    )

    marked = read_marked_slide(path)

    assert marked.xy_qp.tolist() == [[1.5, 2.5], [3, 4], [5, 6], [12, 14]]
    assert marked.words == ("Negative", "Negative", "Positive", "Tumor: Positive")
    assert marked.areas == ()


def test_objects_inside_others_and_gzipped_files_are_read(tmp_path: Path) -> None:
    area = feature("annotation", "Polygon", ring(0, 0, 50, 40), {"name": "Region"})
    area["properties"]["childObjects"] = [feature("detection", "Point", [5, 6], "Positive")]
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps(area).encode()))

    marked = read_marked_slide(path)

    assert marked.areas == (MarkedArea(0, 0, 50, 40, "Region"),)
    assert marked.words == ("Positive",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as GeoJSON"),
        ("7", "holds no GeoJSON features"),
        ('[{"type": "Feature", "geometry": null}]', "object 1 is no GeoJSON feature"),
    ],
)
def test_what_is_no_geojson_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.geojson").write_text(text)

    with pytest.raises(AnnotationError, match=rf"a\.geojson: {message}"):
        read_marked_slide(tmp_path / "a.geojson")


def test_an_area_that_is_no_rectangle_is_refused_unless_it_is_ignored(tmp_path: Path) -> None:
    triangle = [[[0, 0], [9, 0], [0, 9], [0, 0]]]
    path = write(tmp_path / "a.geojson", feature("annotation", "Polygon", triangle))
    with pytest.raises(AnnotationError, match="object 1 is an area but no rectangle; draw"):
        read_marked_slide(path)

    write(path, feature("annotation", "Polygon", triangle, "Artefact*"))
    assert read_marked_slide(path).areas == ()


def test_the_bounds_of_a_slide_are_added_to_what_qupath_shows(
    tmp_path: Path,
    vendor_writer: Callable[[str], Any],
    scene_pixels: Callable[..., NDArray[np.uint8]],
) -> None:
    size = "--width 1500 --height 1200 --offset-tiles 6 9 --pad-tiles 4 5 --levels 4 --files 2"
    path = tmp_path / "m.mrxs"
    facts = vendor_writer("mirax").write([str(path), *size.split()])
    bounds_x, bounds_y, width, height = facts["bounds"]
    photo_x, photo_y = facts["photos_present"][0]
    x0, y0 = photo_x - bounds_x + 24, photo_y - bounds_y + 24
    reader = open_marked(path)
    try:
        area = MarkedArea(x0 + 0.25, y0 + 0.5, x0 + 60, y0 + 50.5, "")
        pixels = read_area(reader, area, mpp_um=None)
        with pytest.raises(
            AnnotationError, match=f"reaches beyond the image of {width} x {height}"
        ):
            read_area(reader, MarkedArea(0, 0, width + 1, 10, ""), mpp_um=None)
    finally:
        reader.close()

    origin_x, origin_y = facts["origin"]
    corner = x0 + bounds_x - origin_x, y0 + bounds_y - origin_y
    truth = scene_pixels(*corner, 60, 51, *facts["region"])
    assert (pixels.x0_qp, pixels.y0_qp, pixels.mpp_um) == (x0, y0, 0.25)
    assert bounds_x > 0
    assert pixels.image.shape == truth.shape
    assert np.abs(pixels.image.astype(int) - truth).mean() < 6


def test_a_slide_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "s.svs").write_bytes(b"no slide at all")

    with pytest.raises(AnnotationError, match=r"s\.svs"):
        open_marked(tmp_path / "s.svs")
