"""A region of interest made to harm is one line, read within bounded work."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.tiling import Box
from pipeline.errors import AnnotationError
from pipeline.io.annotations import MOST_FILE_BYTES, RoiClasses, read_roi, roi_sha256

SLIDE = Box(0, 0, 1000, 1000)
CLASSES = RoiClasses(("Tumor",), ())
SQUARE = [[0, 0], [500, 0], [500, 500], [0, 500], [0, 0]]


def feature(coordinates: Any, *, kind: str = "Polygon", name: Any = "Tumor") -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


def refused(path: Path) -> str:
    with pytest.raises(AnnotationError) as caught:
        read_roi(path, bounds=SLIDE, classes=CLASSES)
    words = str(caught.value)
    assert words.startswith(path.name)
    assert "\n" not in words
    assert len(words) < 500
    return words


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"features":' * 100_000 + "1" + "}" * 100_000,
        '{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":'
        + "[" * 100_000
        + "]" * 100_000
        + "}}",
    ],
    ids=["lists", "objects", "coordinates"],
)
def test_nesting_without_end_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.geojson"
    path.write_text(text)
    refused(path)


@pytest.mark.parametrize(
    "coordinates",
    [
        [[[0, 0], [float("nan"), 0], [500, 500], [0, 0]]],
        [[[0, 0], [float("inf"), 0], [500, 500], [0, 0]]],
        [[[0, 0], [1e400, 0], [500, 500], [0, 0]]],
        [[["0", "a"], [1, 2], [3, 4]]],
        [[{"x": 1}, {"x": 2}, {"x": 3}]],
        [[[0], [1], [2]]],
        [[[None, None]] * 4],
        "coordinates",
        {"0": 1},
        7,
        None,
        [],
        [[]],
        [[[0, 0], [0, 0], [0, 0], [0, 0]]],
    ],
)
def test_coordinates_that_are_no_outline_are_refused(tmp_path: Path, coordinates: Any) -> None:
    path = tmp_path / "wrong.geojson"
    path.write_text(json.dumps([feature(coordinates)]))
    refused(path)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "text",
        [1],
        [None],
        {"features": 1},
        [{"type": "Feature", "geometry": 1}],
        [{"type": "Feature", "geometry": {}, "properties": []}],
        [feature([SQUARE]) | {"properties": "text"}],
    ],
)
def test_values_of_a_wrong_type_are_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "wrong.geojson"
    path.write_text(json.dumps(value))
    refused(path)


@pytest.mark.parametrize("name", [7, ["Tumor"], {"a": 1}, "=cmd()", "\x1b[2J", "x" * 100_000])
def test_the_name_of_a_class_is_only_a_name(tmp_path: Path, name: Any) -> None:
    path = tmp_path / "named.geojson"
    path.write_text(json.dumps([feature([SQUARE]), feature([SQUARE], name=name)]))
    roi = read_roi(path, bounds=SLIDE, classes=CLASSES)
    assert roi.include_classes == ("Tumor",)


def test_a_file_of_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.geojson"
    path.touch()
    os.truncate(path, 2 << 30)  # takes no room on the disk
    with pytest.raises(AnnotationError, match=f"2048 MB, more than {MOST_FILE_BYTES >> 20}"):
        roi_sha256(path)
    refused(path)


def test_a_packed_bomb_is_refused(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "bomb.geojson.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(300):
            stream.write(b" " * (1 << 20))
    assert "larger than 256 MB" in refused(path)


def test_a_mask_that_claims_a_terapixel_is_refused_unread(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    path = tmp_path / "mask.png"
    header = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )
    refused(path)


def test_pillows_own_limit_is_left_on() -> None:
    from PIL import Image

    import pipeline.io.annotation_image
    import pipeline.io.pictures  # noqa: F401

    assert Image.MAX_IMAGE_PIXELS is not None
    assert Image.MAX_IMAGE_PIXELS <= 1 << 28
