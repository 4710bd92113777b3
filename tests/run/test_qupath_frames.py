"""Slides whose scanned part lies far from (0, 0): cells land on nuclei, here and in QuPath."""

import csv
import gzip
import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from pipeline.config import load_config
from pipeline.io.cells import read_cells
from pipeline.io.synthetic.field import render_field
from pipeline.run.archive import run_archive
from tests.io.qupath_reader import PathObject, read_objects

VENDOR = Path(__file__).resolve().parents[1] / "vendor"
MPP = 0.25
FIELD_PX, MARGIN_PX = 400, 60
NEAR_PX = 20
"""Five micrometres: within a nucleus."""

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Pixels of the scanned part and the nuclei in it, pixels of that part."""

    pixels: Pixels
    nuclei: Points


def section_of(fields: list[tuple[Pixels, Points]]) -> Section:
    """Four fields on glass, two by two."""
    side = 2 * FIELD_PX + 3 * MARGIN_PX
    pixels = np.full((side, side, 3), 255, np.uint8)
    nuclei = []
    for number, (image, points) in enumerate(fields):
        row, col = divmod(number, 2)
        y, x = (MARGIN_PX + n * (FIELD_PX + MARGIN_PX) for n in (row, col))
        pixels[y : y + FIELD_PX, x : x + FIELD_PX] = image[:FIELD_PX, :FIELD_PX]
        inside = (points < FIELD_PX).all(axis=1)
        nuclei.append(points[inside] + np.array([x, y]))
    return Section(pixels, np.concatenate(nuclei))


def synthetic_section() -> Section:
    fields = [render_field(seed, FIELD_PX, MPP) for seed in range(11, 15)]
    return section_of([(f.image, np.stack([f.x, f.y], axis=1)) for f in fields])


def real_section(data: Path) -> Section:
    folder = data / "bcdata_sample"
    with (folder / "points.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    fields = []
    for name in ("0.png", "1.png", "10.png", "11.png"):
        places = [(float(r["x"]) + 0.5, float(r["y"]) + 0.5) for r in rows if r["image"] == name]
        with Image.open(folder / "images" / name) as opened:
            fields.append((np.asarray(opened.convert("RGB")), np.array(places)))
    return section_of(fields)


def write_slides(folder: Path, section: Section) -> None:
    """A MIRAX and a Leica slide of the section."""
    if str(VENDOR) not in sys.path:
        sys.path.append(str(VENDOR))
    mirax: Any = importlib.import_module("mirax")
    tiffs: Any = importlib.import_module("vendor_tiffs")
    mirax.write([str(folder / "one.mrxs"), "--mpp", str(MPP)], section.pixels)
    tiffs.write("leica", folder / "two.scn", section.pixels, MPP, lossless=True)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A slide, its results and what QuPath would show: the slide cropped to its bounds."""

    slide: openslide.OpenSlide
    section: Section
    folder: Path
    pack: Path

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        x, y, w, h = (
            int(self.slide.properties[f"openslide.bounds-{name}"])
            for name in ("x", "y", "width", "height")
        )
        return x, y, w, h

    def pixels(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Level-0 pixels on white, as a viewer shows them."""
        read = self.slide.read_region((x, y), 0, (width, height))
        white = Image.new("RGBA", read.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, read).convert("RGB"))

    @property
    def in_qupath(self) -> Pixels:
        """The image as QuPath opens it."""
        return self.pixels(*self.bounds)

    @property
    def manifest(self) -> dict[str, Any]:
        """The slide's line of the manifest."""
        slides = json.loads((self.pack / "manifest.json").read_text())["slides"]
        (line,) = [line for line in slides if line["slide_id"] == self.folder.name]
        found: dict[str, Any] = line
        return found


def scored_slides(tmp: Path, section: Section, scheduler: str) -> list[Scored]:
    (tmp / "in").mkdir()
    write_slides(tmp / "in", section)
    config = load_config(None, [scheduler, "score.min_cells=10", "prediction.tile_core_px=512"])
    summary = run_archive([tmp / "in"], tmp / "out", config)
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    found = []
    for name in ("one.mrxs", "two.scn"):
        (folder,) = (tmp / "out" / "slides").glob(f"{name.partition('.')[0]}*")
        slide = openslide.OpenSlide(tmp / "in" / name)
        found.append(Scored(slide, section, folder, tmp / "out" / "qupath"))
    return found


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> list[Scored]:
    """Both slides of synthetic tissue, through the pipeline with the model that ships."""
    return scored_slides(tmp_path_factory.mktemp("synthetic"), synthetic_section(), scheduler)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, scheduler: str, ki67_data: Path) -> list[Scored]:
    """Both slides of annotated fields of real tissue."""
    return scored_slides(tmp_path_factory.mktemp("real"), real_section(ki67_data), scheduler)


def density_at(pixels: Pixels, points: Points) -> float:
    """Mean optical density of 5 x 5 pixels at each point."""
    light = (pixels.astype(np.float64).mean(axis=2) + 1) / 256
    depth = -np.log10(light)
    padded = np.pad(depth, 2, mode="edge")
    col = np.clip(points[:, 0].astype(int), 0, pixels.shape[1] - 1)
    row = np.clip(points[:, 1].astype(int), 0, pixels.shape[0] - 1)
    steps = [(dy, dx) for dy in range(5) for dx in range(5)]
    return float(np.mean([padded[row + dy, col + dx] for dy, dx in steps]))


def tissue_density(pixels: Pixels) -> float:
    """What points thrown anywhere on the tissue find."""
    rng = np.random.default_rng(0)
    row, col = np.nonzero((pixels < 250).any(axis=2))
    chosen = rng.integers(0, len(row), 4000)
    places = np.stack([col, row], axis=1)[chosen].astype(np.float64)
    return density_at(pixels, places + 0.5)


def centres(objects: list[PathObject]) -> Points:
    boxes = np.array([found.bounds for found in objects])
    return np.stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)], axis=1)


def near(points: Points, nuclei: Points) -> tuple[float, float]:
    """Share of points beside a nucleus, share of nuclei beside a point."""
    to_nucleus, _ = cKDTree(nuclei).query(points)
    to_point, _ = cKDTree(points).query(nuclei)
    return float((to_nucleus < NEAR_PX).mean()), float((to_point < NEAR_PX).mean())


def corner_of_section(scored: Scored) -> Points:
    """Where the section's first pixel lies in QuPath's image: MIRAX bounds are those of photos."""
    if scored.slide.properties["openslide.vendor"] == "leica":
        return np.zeros(2)
    shown = (scored.in_qupath < 235).any(axis=2)
    given = (scored.section.pixels < 235).any(axis=2)
    corners = [
        [float(np.argmax(np.any(mask, axis=axis))) for axis in (0, 1)] for mask in (shown, given)
    ]
    offset: Points = np.array(corners[0]) - np.array(corners[1])
    return offset


def check_cells_on_nuclei(scored: Scored, *, least: float) -> None:
    x_l0, y_l0, width, height = scored.bounds
    assert min(x_l0, y_l0) > 300  # or the test would prove nothing
    objects = read_objects(scored.folder / "cells.geojson.gz")
    points = read_cells(scored.folder / "cells.parquet")
    on_l0 = np.stack([points.x_l0, points.y_l0], axis=1)
    in_qupath = centres(objects)
    assert len(objects) == len(points) > 100
    assert sum(found.is_positive for found in objects) == points.positive
    assert np.abs(in_qupath + np.array([x_l0, y_l0]) - on_l0).max() < 0.06
    assert (in_qupath >= 0).all()
    assert (in_qupath < (width, height)).all()

    pixels = scored.in_qupath
    anywhere, found = tissue_density(pixels), density_at(pixels, in_qupath)
    assert found > anywhere + 0.1
    # the same on level 0, read around each cell without knowing of bounds
    around = [
        density_at(scored.pixels(int(x) - 4, int(y) - 4, 9, 9), np.array([[4.5, 4.5]]))
        for x, y in on_l0[:100]
    ]
    assert float(np.mean(around)) > anywhere + 0.1
    # ten micrometres off they would not
    assert density_at(pixels, in_qupath + 40) < found - 0.05

    precise, complete = near(in_qupath - corner_of_section(scored), scored.section.nuclei)
    assert min(precise, complete) > least
    assert min(near(in_qupath - corner_of_section(scored) + 60, scored.section.nuclei)) < precise


def check_pack(scored: Scored) -> None:
    line, (x_l0, y_l0, width, height) = scored.manifest, scored.bounds
    assert (line["width"], line["height"]) == (width, height)
    assert line["bounds"] == [x_l0, y_l0]
    slide_id = scored.folder.name
    with gzip.open(scored.pack / f"{slide_id}.cells.csv.gz", "rt", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    table = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert np.abs(table - centres(read_objects(scored.folder / "cells.geojson.gz"))).max() < 0.11
    for area in read_objects(scored.pack / f"{slide_id}.areas.geojson"):
        left, top, right, bottom = area.bounds
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    with Image.open(scored.pack / f"{slide_id}.density.png") as picture:
        drawn = np.asarray(picture.resize((width, height), Image.Resampling.NEAREST))[..., 3] > 0
    inside = drawn[table[:, 1].astype(int), table[:, 0].astype(int)]
    assert inside.mean() > 0.99  # all but those at a bin's rounded border


@pytest.mark.slow
def test_cells_of_slides_with_bounds_land_on_nuclei(synthetic: list[Scored]) -> None:
    for scored in synthetic:
        check_cells_on_nuclei(scored, least=0.6)


@pytest.mark.slow
def test_the_pack_is_in_qupaths_frame(synthetic: list[Scored]) -> None:
    for scored in synthetic:
        check_pack(scored)


@pytest.mark.slow
def test_cells_of_real_tissue_land_on_marked_nuclei(real: list[Scored]) -> None:
    for scored in real:
        check_cells_on_nuclei(scored, least=0.6)
        check_pack(scored)
