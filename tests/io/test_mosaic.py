"""Mosaic slides: fields lie where the truth says, with classed tumour cells only."""

import json
from pathlib import Path

import numpy as np
import openslide
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.cli.synth import synth
from pipeline.errors import AnnotationError, ConfigError
from pipeline.io.cells import read_cells
from pipeline.io.mosaic import read_mosaic_fields, write_mosaic_slide

DOTS = ((20, 31), (100, 31), (57, 140), (150, 99))
WORDS = ("positive", "negative", "lymphocyte", "negative")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "fields"
    (home / "images").mkdir(parents=True)
    lines = ["image,x,y,label"]
    for number in range(5):
        image = np.full((180 + 10 * number, 200, 3), 225, np.uint8)
        for x, y in DOTS:
            image[y - 6 : y + 7, x - 6 : x + 7] = (60, 40 + 30 * number, 90)
        Image.fromarray(image).save(home / "images" / f"f{number}.png")
        lines += [f"f{number}.png,{x},{y},{word}" for (x, y), word in zip(DOTS, WORDS, strict=True)]
    (home / "points.csv").write_text("\n".join(lines) + "\n")
    return home


def level_0(path: Path) -> np.ndarray:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]


def places(record: Path) -> list[dict[str, int]]:
    found: list[dict[str, int]] = json.loads(record.read_text())["fields"]
    return found


def test_a_field_stands_on_the_slide_as_it_was(folder: Path, tmp_path: Path) -> None:
    truth = write_mosaic_slide(tmp_path / "m.tif", read_mosaic_fields(folder), quality=95)
    pixels = level_0(tmp_path / "m.tif")
    for place in places(truth.record):
        stored = np.asarray(Image.open(folder / "images" / str(place["image"])))
        rows = slice(place["top"], place["top"] + place["height"])
        columns = slice(place["left"], place["left"] + place["width"])
        assert np.abs(pixels[rows, columns].astype(int) - stored).mean() < 2


def test_true_cells_lie_on_the_marked_pixels(folder: Path, tmp_path: Path) -> None:
    truth = write_mosaic_slide(tmp_path / "m.tif", read_mosaic_fields(folder))
    cells = read_cells(truth.parquet)
    assert (truth.positive, truth.negative) == (5, 10)
    expected = sorted(
        (place["left"] + x + 0.5, place["top"] + y + 0.5)
        for place in places(truth.record)
        for (x, y), word in zip(DOTS, WORDS, strict=True)
        if word != "lymphocyte"
    )
    assert sorted(zip(cells.x_l0, cells.y_l0, strict=True)) == expected
    dark = level_0(tmp_path / "m.tif")[cells.y_l0.astype(int), cells.x_l0.astype(int)]
    assert (dark[:, 0] < 90).all()


@pytest.mark.parametrize(("mpp", "field_mpp"), [(0.25, 0.16), (0.25, 0.5), (0.5, 0.25)])
def test_cells_keep_their_pixels_at_another_resolution(
    folder: Path, tmp_path: Path, mpp: float, field_mpp: float
) -> None:
    fields = read_mosaic_fields(folder, ["f0", "f4.png"])
    truth = write_mosaic_slide(tmp_path / "m.tif", fields, mpp_um=mpp, field_mpp_um=field_mpp)
    pixels = gaussian_filter(level_0(tmp_path / "m.tif")[..., 0].astype(float), 1.0)
    cells = truth.cells
    assert (pixels[cells.y_l0.astype(int), cells.x_l0.astype(int)] < 110).all()
    sizes = {(place["width"], place["height"]) for place in places(truth.record)}
    scale = field_mpp / mpp
    assert sizes == {(round(200 * scale), round(h * scale)) for h in (180, 220)}


def test_the_seed_moves_the_fields_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    fields = read_mosaic_fields(folder)
    one, again, other = (
        write_mosaic_slide(tmp_path / f"{name}.tif", fields, seed=seed)
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()
    assert places(one.record) == places(again.record) != places(other.record)
    assert one.index_pct == other.index_pct == pytest.approx(100 / 3)


def test_names_and_patterns_choose_the_images(folder: Path) -> None:
    chosen = read_mosaic_fields(folder, ["f0.png", "f[34]"])
    assert [one.path.stem for one in chosen] == ["f0", "f3", "f4"]
    with pytest.raises(AnnotationError, match="no image in images/ fits 'g1'"):
        read_mosaic_fields(folder, ["f0", "g1"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("f0.png,10,10,cell", "label 'cell' has no class"),
        ("f0.png,200,10,negative", r"point \(200, 10\) lies outside"),
        ("f0.png,ten,10,negative", "x and y must be numbers"),
    ],
)
def test_wrong_annotations_are_refused(folder: Path, line: str, words: str) -> None:
    with (folder / "points.csv").open("a") as table:
        table.write(line + "\n")
    with pytest.raises(AnnotationError, match=words):
        read_mosaic_fields(folder)


def test_an_image_without_a_row_is_refused_and_an_empty_row_means_no_cell(folder: Path) -> None:
    Image.new("RGB", (50, 50), "white").save(folder / "images" / "g.png")
    with pytest.raises(AnnotationError, match=r"g\.png: no row"):
        read_mosaic_fields(folder)
    with (folder / "points.csv").open("a") as table:
        table.write("g.png,,,\n")
    assert read_mosaic_fields(folder, ["g"])[0].label.size == 0


def test_the_command_sets_fields_into_a_slide(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.tif"
    words = [str(out), "--from-fields", str(folder), "--images", "f1,f2"]
    done = CliRunner().invoke(synth, words)
    assert done.exit_code == 0, done.output
    assert "2 positive + 4 negative" in done.output
    refused = CliRunner().invoke(synth, [*words, "--coverage", "0.5"])
    assert isinstance(refused.exception, ConfigError)


def test_real_fields_become_a_slide(ki67_data: Path, tmp_path: Path) -> None:
    fields = read_mosaic_fields(ki67_data / "bcdata_sample", ["3", "1?"])
    truth = write_mosaic_slide(tmp_path / "real.tif", fields)
    assert len(truth.cells) == sum(one.label.size for one in fields) > 500
    with pytest.raises(AnnotationError, match="'cell' has no class"):
        read_mosaic_fields(ki67_data / "ki67_pilot_masks")
