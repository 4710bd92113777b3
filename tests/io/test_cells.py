import gzip
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.points import CellPoints
from pipeline.errors import OutputError
from pipeline.io import cells, cells_text
from pipeline.io.cells import (
    read_cells,
    read_cells_metadata,
    write_cells,
)
from pipeline.io.cells_frame import read_cells_frame
from pipeline.io.cells_text import (
    CellShape,
    write_cells_csv,
    write_cells_geojson,
    write_cells_table,
)
from tests.io.qupath_contract import check_file, read_features


def random_cells(count: int, seed: int = 0, side_l0: float = 100_000) -> CellPoints:
    rng = np.random.default_rng(seed)
    return CellPoints(
        rng.uniform(0, side_l0, count),
        rng.uniform(0, side_l0, count),
        rng.random(count, np.float32),
        (rng.random(count) < 0.3).astype(np.uint8),
    )


def same(left: CellPoints, right: CellPoints) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("x_l0", "y_l0", "score", "label")
    )


@given(count=st.integers(0, 50), seed=st.integers(0, 999), group=st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_cells_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, group: int
) -> None:
    path = tmp_path_factory.mktemp("cells") / "cells.parquet"
    points = random_cells(count, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "ROW_GROUP_CELLS", group)
        write_cells(path, points, {"slide": "a", "model": "m"})
    assert same(read_cells(path), points)
    assert read_cells_metadata(path) == {"slide": "a", "model": "m"}


def test_geopandas_reads_points_without_a_coordinate_system(tmp_path: Path) -> None:
    points = random_cells(1000)
    write_cells(tmp_path / "cells.parquet", points, {})
    frame = read_cells_frame(tmp_path / "cells.parquet")
    assert frame.crs is None
    assert set(frame.geom_type) == {"Point"}
    assert np.array_equal(frame.geometry.x, points.x_l0)
    assert np.array_equal(frame.geometry.y, points.y_l0)
    assert list(frame.columns) == ["geometry", "x_l0", "y_l0", "score", "label"]
    assert (frame["label"] == "positive").sum() == points.positive


def test_no_cells_are_a_table_all_the_same(tmp_path: Path) -> None:
    write_cells(tmp_path / "cells.parquet", CellPoints.empty(), {})
    assert len(geopandas.read_parquet(tmp_path / "cells.parquet")) == 0
    assert len(read_cells(tmp_path / "cells.parquet")) == 0


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    points = random_cells(5000)
    for name in ("a", "b"):
        write_cells(tmp_path / name / "cells.parquet", points, {"b": "1", "a": "2"})
        write_cells_geojson(tmp_path / name, points, offset_x_l0=0, offset_y_l0=0, radius_px=12)
        time.sleep(0.01)
    for name in ("cells.parquet", "cells.geojson.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_order_of_metadata_changes_no_byte(tmp_path: Path) -> None:
    points = random_cells(10)
    write_cells(tmp_path / "a.parquet", points, {"b": "1", "a": "2"})
    write_cells(tmp_path / "b.parquet", points, {"a": "2", "b": "1"})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("column", ["x_l0", "y_l0", "score"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_cells_that_are_nowhere_are_refused(tmp_path: Path, column: str, bad: float) -> None:
    points = random_cells(5)
    getattr(points, column)[3] = bad
    with pytest.raises(ValueError, match=f"cell 3: {column}"):
        write_cells(tmp_path / "cells.parquet", points, {})
    with pytest.raises(ValueError, match=f"cell 3: {column}"):
        write_cells_geojson(tmp_path, points, offset_x_l0=0, offset_y_l0=0, radius_px=12)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_table_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    write_cells(path, random_cells(100), {})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OutputError, match="ki67 verify"):
        read_cells(path)
    with pytest.raises(OutputError, match="ki67 verify"):
        read_cells(tmp_path / "none.parquet")


@pytest.mark.parametrize("shape", ["point", "circle"])
def test_geojson_holds_every_cell_as_qupath_wants_it(tmp_path: Path, shape: CellShape) -> None:
    points = random_cells(500)
    (path,) = write_cells_geojson(
        tmp_path, points, offset_x_l0=1000, offset_y_l0=-50, radius_px=12.5, shape=shape
    )
    assert path.name == "cells.geojson.gz"
    counts = check_file(path)
    assert counts == {"Positive": points.positive, "Negative": points.negative}
    for feature, x_l0, y_l0, label in zip(
        read_features(path), points.x_l0, points.y_l0, points.label, strict=True
    ):
        geometry = feature["geometry"]
        flat = np.array(geometry["coordinates"]).reshape(-1, 2)
        centre = (flat.min(axis=0) + flat.max(axis=0)) / 2
        assert np.abs(centre - [x_l0 - 1000, y_l0 + 50]).max() <= 0.11
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["classification"] == (
            {"name": "Positive", "color": [200, 50, 50]}
            if label
            else {"name": "Negative", "color": [90, 90, 180]}
        )
        assert geometry.get("isEllipse", False) == (shape == "circle")
        assert "id" not in feature


def test_many_cells_are_circles_in_numbered_files_and_stale_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_text, "GEOJSON_MAX_CELLS", 100)
    monkeypatch.setattr(cells_text, "_BLOCK", 30)
    points = random_cells(250)
    paths = write_cells_geojson(tmp_path, points, offset_x_l0=0, offset_y_l0=0, radius_px=12)
    assert [path.name for path in paths] == [f"cells.{n:03d}.geojson.gz" for n in range(3)]
    assert sum(check_file(path).total() for path in paths) == 250
    assert [check_file(path).total() for path in paths] == [100, 100, 50]
    assert read_features(paths[0])[0]["geometry"]["isEllipse"] is True
    few = points.take(np.arange(100))
    write_cells_geojson(tmp_path, few, offset_x_l0=0, offset_y_l0=0, radius_px=12)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.geojson.gz"]
    assert read_features(tmp_path / "cells.geojson.gz")[0]["geometry"]["type"] == "Point"


def test_no_cells_are_an_empty_collection(tmp_path: Path) -> None:
    (path,) = write_cells_geojson(
        tmp_path, CellPoints.empty(), offset_x_l0=0, offset_y_l0=0, radius_px=12
    )
    assert json.loads(gzip.decompress(path.read_bytes())) == {
        "type": "FeatureCollection",
        "features": [],
    }


def test_a_coordinate_just_below_zero_is_no_negative_zero(tmp_path: Path) -> None:
    points = CellPoints(
        np.array([0.01]), np.array([5.0]), np.ones(1, np.float32), np.zeros(1, np.uint8)
    )
    (path,) = write_cells_geojson(tmp_path, points, offset_x_l0=0.02, offset_y_l0=0, radius_px=12)
    assert b"-0.0" not in gzip.decompress(path.read_bytes())


def test_files_carry_no_trace_of_when_or_by_which_table_library_they_were_made(
    tmp_path: Path,
) -> None:
    write_cells(tmp_path / "cells.parquet", random_cells(10), {"slide": "a"})
    assert set(pq.read_schema(tmp_path / "cells.parquet").metadata) == {b"geo", b"slide"}


def test_scores_are_measurements_only_when_asked_for(tmp_path: Path) -> None:
    points = random_cells(60)
    shapes: tuple[CellShape, ...] = ("point", "circle")
    for shape in shapes:
        (path,) = write_cells_geojson(
            tmp_path,
            points,
            offset_x_l0=0,
            offset_y_l0=0,
            radius_px=12,
            shape=shape,
            stem=f"a-1.{shape}",
            scores=True,
        )
        assert path.name == f"a-1.{shape}.geojson.gz"
        check_file(path)
        found = [f["properties"]["measurements"] for f in read_features(path)]
        assert found == [{"AI score": round(float(score), 3)} for score in points.score]


def test_parts_of_one_slide_never_remove_those_of_another(tmp_path: Path) -> None:
    points = random_cells(3)
    for stem in ("a.cells", "a.cells.b"):
        write_cells_geojson(tmp_path, points, offset_x_l0=0, offset_y_l0=0, radius_px=12, stem=stem)
    (tmp_path / "a.cells.007.geojson.gz").write_bytes(b"of a larger slide once")
    write_cells_geojson(
        tmp_path, points, offset_x_l0=0, offset_y_l0=0, radius_px=12, stem="a.cells"
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.cells.b.geojson.gz", "a.cells.geojson.gz"]


def test_the_table_holds_level_0_pixels_micrometres_and_words(tmp_path: Path) -> None:
    points = random_cells(60_000)
    write_cells_table(tmp_path / "cells.csv.gz", points, mpp=(0.25, 0.5))
    table = pd.read_csv(tmp_path / "cells.csv.gz")
    assert list(table) == ["x_l0", "y_l0", "x_um", "y_um", "label", "score"]
    assert np.allclose(table["x_l0"], points.x_l0, atol=0.0051)
    assert np.allclose(table["x_um"], points.x_l0 * 0.25, atol=0.00051)
    assert np.allclose(table["y_um"], points.y_l0 * 0.5, atol=0.00051)
    assert ((table["label"] == "positive") == (points.label == 1)).all()


def most_traced_bytes(write: Callable[[], object]) -> int:
    """Highest memory of arrays and strings; Arrow's own pool apart."""
    pa.default_memory_pool().release_unused()
    tracemalloc.start()
    try:
        write()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_the_text_writers_does_not_grow_with_the_cells(tmp_path: Path) -> None:
    def write(points: CellPoints) -> None:
        write_cells_geojson(
            tmp_path, points, offset_x_l0=0, offset_y_l0=0, radius_px=12, shape="circle"
        )
        write_cells_csv(tmp_path / "a.csv.gz", points, offset_x_l0=0, offset_y_l0=0)

    write(random_cells(1000))  # libraries load before the first reading
    small, large = (
        most_traced_bytes(partial(write, random_cells(count))) for count in (50_000, 200_000)
    )
    assert large < 1.5 * small
    assert pa.total_allocated_bytes() < 50e6  # nothing is kept


@pytest.mark.slow
def test_five_million_cells_are_written_in_flat_memory_and_a_million_detections_in_seconds(
    tmp_path: Path,
) -> None:
    points = random_cells(5_000_000)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_cells(tmp_path / "cells.parquet", points, {})
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    if sys.platform == "linux":
        assert grown_mb < 200
    assert pq.read_metadata(tmp_path / "cells.parquet").num_rows == 5_000_000
    million = points.take(np.arange(1_000_000))
    started = time.process_time()
    write_cells(tmp_path / "million.parquet", million, {})
    write_cells_csv(tmp_path / "a.csv.gz", million, offset_x_l0=0, offset_y_l0=0)
    write_cells_geojson(tmp_path, million, offset_x_l0=0, offset_y_l0=0, radius_px=12)
    assert time.process_time() - started < 15
