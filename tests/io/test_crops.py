import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.core.tiling import Box
from pipeline.errors import OutputError, UnreadableSlideError
from pipeline.io.crops import (
    CROP_SORTS,
    CropSort,
    choose_crops,
    read_crops,
    renew_crops,
    write_crops,
)
from pipeline.io.pictures import Rgb

PLANE = PlaneFrame(100, 50, 2.0, 2.0, 1000, 700)


def random_cells(count: int, frame: PlaneFrame = PLANE, seed: int = 0) -> CellPoints:
    rng = np.random.default_rng(seed)
    x_l0, y_l0 = frame.to_l0(
        rng.uniform(0, frame.width, count), rng.uniform(0, frame.height, count)
    )
    score = rng.uniform(0.1, 1, count).astype(np.float32)
    return CellPoints(x_l0, y_l0, score, (rng.random(count) < 0.5).astype(np.uint8))


def noise(box: Box) -> Rgb:
    rng = np.random.default_rng(box.x0)
    return rng.integers(0, 256, (box.height, box.width, 3), np.uint8)


@given(count=st.integers(0, 300), seed=st.integers(0, 99), side=st.sampled_from([64, 128, 512]))
def test_crops_lie_in_the_plane_and_never_overlap(count: int, seed: int, side: int) -> None:
    sorts = [CropSort(name, 3, side) for name in ("hotspot", "dense", "random", "uncertain")]
    points = random_cells(count, seed=seed)
    spots = [(points.x_l0[0], points.y_l0[0])] if count else []
    chosen = choose_crops(points, PLANE, seed=seed, hotspots_l0=spots, sorts=sorts)
    assert len(chosen) <= 12
    assert (len(chosen) > 0) == (count > 0)
    covered = np.zeros((700, 1000), int)
    for _, box in chosen:
        assert (box.width, box.height) == (side, side)
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= 1000
        assert box.y1 <= 700
        covered[box.y0 : box.y1, box.x0 : box.x1] += 1
    assert covered.max(initial=0) <= 1


def test_the_densest_place_comes_first_and_the_seed_chooses_the_random_ones() -> None:
    plane = PlaneFrame(0, 0, 2.0, 2.0, 4000, 4000)
    crowd = np.random.default_rng(1).uniform(1500, 1600, (2, 300)) * 2
    points = CellPoints.concatenate(
        [
            random_cells(400, plane),
            CellPoints(crowd[0], crowd[1], np.ones(300, "f4"), np.ones(300, np.uint8)),
        ]
    )
    sorts = [CropSort("dense", 3, 200), CropSort("random", 3, 200)]
    chosen = dict(choose_crops(points, plane, seed=5, sorts=sorts))
    assert list(chosen) == ["dense_1", "dense_2", "dense_3", "random_1", "random_2", "random_3"]
    first = chosen["dense_1"]
    assert first.x0 <= 1500
    assert first.x1 >= 1600
    assert choose_crops(points, plane, seed=5, sorts=sorts) == list(chosen.items())
    other = dict(choose_crops(points, plane, seed=6, sorts=sorts))
    assert other["dense_1"] == first
    assert other["random_1"] != chosen["random_1"]


def test_uncertain_crops_show_the_cells_of_lowest_score_and_hotspots_keep_their_rank() -> None:
    plane = PlaneFrame(0, 0, 1.0, 1.0, 5000, 5000)
    points = random_cells(500, plane)
    lowest = int(np.argmin(points.score))
    spots = [(4000.0, 4000.0), (1000.0, 1000.0)]
    chosen = dict(choose_crops(points, plane, seed=1, hotspots_l0=spots))
    at = chosen["uncertain_1"]
    assert at.x0 <= points.x_l0[lowest] < at.x1
    assert at.y0 <= points.y_l0[lowest] < at.y1
    assert (chosen["hotspot_1"].x0, chosen["hotspot_2"].x0) == (4000 - 256, 1000 - 256)
    assert list(chosen)[:2] == ["hotspot_1", "hotspot_2"]
    assert {name.rpartition("_")[0] for name in chosen} == {sort.name for sort in CROP_SORTS}


def test_a_crop_keeps_its_pixels_and_names_its_cells(tmp_path: Path) -> None:
    points = CellPoints(
        *PLANE.to_l0(np.array([130.5, 159.0, 700.0]), np.array([210.5, 259.5, 600.0])),
        np.array([0.25, 0.5, 1.0], np.float32),
        np.array([1, 0, 1], np.uint8),
    )
    grey = np.full((60, 60, 3), 128, np.uint8)
    box = Box(100, 200, 160, 260)
    write_crops(
        tmp_path, lambda _: grey, [("random_1", box)], frame=PLANE, points=points, mpp_um=0.5
    )
    with Image.open(tmp_path / "random_1.jpg") as picture:
        assert np.abs(np.asarray(picture).astype(int) - 128).max() <= 2
    (crop,) = read_crops(tmp_path)["crops"]
    assert crop["cells"] == [[30.5, 10.5, "positive", 0.25], [59.0, 59.5, "negative", 0.5]]
    assert (crop["kind"], crop["x_l0"], crop["width_l0"]) == ("random", 300.0, 120.0)


def test_crops_of_a_slide_scored_again_show_the_new_cells_without_its_pixels(
    tmp_path: Path,
) -> None:
    before, after = random_cells(200), random_cells(200, seed=9)
    for folder, points in ((tmp_path / "a", before), (tmp_path / "b", after)):
        chosen = choose_crops(before, PLANE, seed=3)
        write_crops(folder, noise, chosen, frame=PLANE, points=points, mpp_um=0.5)
    renew_crops(tmp_path / "a", after)
    first, second = ((tmp_path / name / "crops.json").read_bytes() for name in "ab")
    assert first == second
    renew_crops(tmp_path / "nothing", after)
    assert not (tmp_path / "nothing").exists()


def test_a_place_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    def read(box: Box) -> Rgb:
        if box.x0 == 0:
            raise UnreadableSlideError("damaged")
        return noise(box)

    chosen = [("dense_1", Box(0, 0, 64, 64)), ("dense_2", Box(64, 0, 128, 64))]
    write_crops(tmp_path, read, chosen, frame=PLANE, points=random_cells(5), mpp_um=0.5)
    assert [crop["name"] for crop in read_crops(tmp_path)["crops"]] == ["dense_2"]
    assert not (tmp_path / "dense_1.jpg").exists()


@pytest.mark.parametrize("text", ["{", "{}", '{"schema": 2, "mpp_um": 1, "crops": []}', "[]"])
def test_a_damaged_index_of_crops_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "crops.json").write_text(text)
    with pytest.raises(OutputError, match=r"crops\.json"):
        read_crops(tmp_path)


def test_the_same_slide_gives_the_same_crops(tmp_path: Path) -> None:
    points = random_cells(300)
    for name in "ab":
        chosen = choose_crops(points, PLANE, seed=3)
        write_crops(tmp_path / name, noise, chosen, frame=PLANE, points=points, mpp_um=0.5)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert json.loads((tmp_path / "a" / "crops.json").read_text())["crops"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
