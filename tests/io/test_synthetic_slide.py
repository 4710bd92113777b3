"""Synthetic slides: one plane whatever rectangle is asked for, and the truth beside the file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tiffslide import TiffSlide

from pipeline.cli.synth import synth
from pipeline.errors import ConfigError
from pipeline.io.cells import read_cells
from pipeline.io.synthetic import SlideTruth, SyntheticSlide, write_synthetic_slide
from tests.peak_memory import PEAK_KB

SEED = 1_000_011
SLIDE = SyntheticSlide(SEED, 2600, 1900, coverage=0.5)
MEMORY_SCRIPT = (
    PEAK_KB
    + """
import sys
from pathlib import Path
from pipeline.io.synthetic import SyntheticSlide, write_synthetic_slide
from tests.peak_memory import PEAK_KB
slide = SyntheticSlide(1_000_003, 3000, int(sys.argv[2]), coverage=0.1)
write_synthetic_slide(Path(sys.argv[1]), slide)
print(peak_kb())
"""
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SlideTruth]:
    path = tmp_path_factory.mktemp("synthetic") / "made.tif"
    return path, write_synthetic_slide(path, SLIDE)


@given(x=st.integers(0, 2200), y=st.integers(0, 1500), dx=st.integers(0, 90), dy=st.integers(0, 90))
@settings(max_examples=15)
def test_overlapping_rectangles_agree_bit_for_bit(x: int, y: int, dx: int, dy: int) -> None:
    one = SLIDE.pixels(x, y, 200, 160)
    two = SLIDE.pixels(x + dx, y + dy, 217, 133)
    width, height = min(200 - dx, 217), min(160 - dy, 133)
    np.testing.assert_array_equal(one[dy : dy + height, dx : dx + width], two[:height, :width])


def test_the_same_parameters_give_the_same_slide() -> None:
    again = SyntheticSlide(SEED, 2600, 1900, coverage=0.5)
    np.testing.assert_array_equal(
        SLIDE.pixels(700, 500, 300, 300), again.pixels(700, 500, 300, 300)
    )
    assert again == SLIDE


def test_rows_are_the_pixels_and_cells_of_the_plane() -> None:
    rows, nuclei = SLIDE.rows(512, 300)
    np.testing.assert_array_equal(rows, SLIDE.pixels(0, 512, 2600, 300))
    cells = nuclei.take(nuclei.kind == 0)
    expected = SLIDE.cells_in(0, 512, 2600, 300)
    np.testing.assert_array_equal(cells.x_um, expected.x_um)
    np.testing.assert_array_equal(cells.positive, expected.positive)


def test_glass_is_one_colour_and_tissue_covers_its_share() -> None:
    wide = SyntheticSlide(SEED, 6000, 5000, 0.5, coverage=0.4)
    glass = np.array(wide.glass, np.uint8)
    assert (wide.pixels(0, 0, 300, 100) == glass).all()
    coarse = np.concatenate([wide.rows(y, 1)[0] for y in range(250, 5000, 500)])
    stained = (np.abs(coarse.astype(int) - glass) > 3).any(axis=2).mean()
    assert 0.25 < stained < 0.5


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_the_positive_share_follows_the_wish(share: float) -> None:
    slide = SyntheticSlide(SEED, 8000, 8000, coverage=0.6, positive_share=share)
    found = slide.cells_in(0, 3000, 8000, 1500).positive
    assert abs(found.mean() - share) < 0.15


def test_both_readers_open_the_slide(written: tuple[Path, SlideTruth]) -> None:
    with openslide.OpenSlide(written[0]) as one, TiffSlide(written[0]) as two:
        assert one.dimensions == two.dimensions == (2600, 1900)
        assert float(one.properties["openslide.mpp-x"]) == 0.25
        seen = np.asarray(one.read_region((600, 400), 0, (500, 400)))[..., :3]
        np.testing.assert_array_equal(
            seen, np.asarray(two.read_region((600, 400), 0, (500, 400)))[..., :3]
        )
        assert np.abs(seen.astype(int) - SLIDE.pixels(600, 400, 500, 400)).mean() < 4


def test_the_truth_files_hold_the_same_cells(written: tuple[Path, SlideTruth]) -> None:
    truth = written[1]
    cells = read_cells(truth.parquet)
    table = pq.read_table(truth.parquet)
    assert {"geometry", "x_l0", "y_l0", "label"} <= set(table.column_names)
    assert json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["crs"] is None
    features = json.loads(truth.geojson.read_text())["features"]
    places = np.array([one["geometry"]["coordinates"] for one in features])
    names = [one["properties"]["classification"]["name"] for one in features]
    np.testing.assert_allclose(places[:, 0], cells.x_l0, atol=0.0501)
    np.testing.assert_allclose(places[:, 1], cells.y_l0, atol=0.0501)
    assert names == ["Positive" if label else "Negative" for label in cells.label]
    assert {one["properties"]["objectType"] for one in features} == {"detection"}
    expected = SLIDE.cells_in(0, 0, 2600, 1900)
    np.testing.assert_array_equal(cells.x_l0, expected.x_um / 0.25)
    np.testing.assert_array_equal(cells.label, expected.positive)


def test_the_record_says_how_the_slide_was_made(written: tuple[Path, SlideTruth]) -> None:
    truth = written[1]
    record = json.loads(truth.record.read_text())
    assert record["seed"] == SEED
    assert record["ranges"]["name"] == "demo"
    assert record["counts"] == {
        "positive": truth.positive,
        "negative": truth.negative,
        "total": len(truth.cells),
    }
    assert record["index_pct"] == pytest.approx(100 * truth.positive / len(truth.cells))
    assert record["unmarked_nuclei"] <= 0.08 * (record["unmarked_nuclei"] + len(truth.cells))


def test_workers_change_no_byte(tmp_path: Path) -> None:
    slide = SyntheticSlide(SEED, 600, 1300, coverage=0.6)
    for workers in (1, 2):
        write_synthetic_slide(tmp_path / str(workers) / "made.tif", slide, workers=workers)
    for path in sorted((tmp_path / "1").iterdir()):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [{"width": 10}, {"coverage": 0.99}, {"positive_share": 1.5}, {"mpp_um": 3.0}, {"pieces": 0}],
)
def test_impossible_slides_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SyntheticSlide(**{"seed": SEED, "width": 500, "height": 500, **wrong})  # type: ignore[arg-type]


def test_the_command_writes_slide_and_truth(tmp_path: Path) -> None:
    out = tmp_path / "one.tif"
    done = CliRunner().invoke(
        synth, [str(out), "--width", "700", "--height", "600", "--coverage", "0.6", "--seed", "3"]
    )
    assert done.exit_code == 0, done.output
    assert "true Ki-67 index" in done.output
    record = json.loads((tmp_path / "one.truth.json").read_text())
    assert (record["seed"], record["width"]) == (1_000_003, 700)
    refused = CliRunner().invoke(synth, [str(tmp_path / "one.png")])
    assert isinstance(refused.exception, ConfigError)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path / f"{height}.tif"), str(height)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for height in (3000, 24000)
    ]
    assert peaks[1] < 1.25 * peaks[0]
