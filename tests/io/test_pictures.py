from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.io import pictures
from pipeline.io.pictures import (
    NEGATIVE_RGB,
    POSITIVE_RGB,
    write_overlay,
    write_thumbnail,
)

HEIGHT, WIDTH = 300, 400
FRAME = PlaneFrame(1000, 500, 32.0, 32.0, WIDTH, HEIGHT)


def tissue() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[50:250, 50:350] = True
    return mask


def overview() -> NDArray[np.uint8]:
    rgb = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    rgb[tissue()] = (200, 180, 210)
    return rgb


def cells_at(x_px: list[float], y_px: list[float], label: list[int]) -> CellPoints:
    x_l0, y_l0 = FRAME.to_l0(np.array(x_px, float), np.array(y_px, float))
    return CellPoints(x_l0, y_l0, np.ones(len(x_px), np.float32), np.array(label, np.uint8))


def random_cells(count: int, frame: PlaneFrame, seed: int = 0) -> CellPoints:
    rng = np.random.default_rng(seed)
    x_l0, y_l0 = frame.to_l0(
        rng.uniform(0, frame.width, count), rng.uniform(0, frame.height, count)
    )
    label = (rng.random(count) < 0.5).astype(np.uint8)
    return CellPoints(x_l0, y_l0, np.ones(count, np.float32), label)


def colour_at(path: Path, x: int, y: int) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB").getpixel((x, y)), dtype=np.int64)


def near(colour: NDArray[np.int64], wanted: tuple[int, int, int]) -> bool:
    return bool(np.abs(colour - np.array(wanted)).max() < 60)


def test_a_thumbnail_fits_and_keeps_its_shape(tmp_path: Path) -> None:
    write_thumbnail(tmp_path / "thumbnail.jpg", overview(), side_px=200)
    with Image.open(tmp_path / "thumbnail.jpg") as picture:
        assert picture.size == (200, 150)
    write_thumbnail(tmp_path / "thumbnail.jpg", overview())
    with Image.open(tmp_path / "thumbnail.jpg") as picture:
        assert picture.size == (WIDTH, HEIGHT)  # never enlarged


def test_few_cells_are_dots_in_their_place(tmp_path: Path) -> None:
    points = cells_at([100.5, 300.5], [100.5, 200.5], [1, 0])
    path = tmp_path / "overlay.jpg"
    write_overlay(path, overview(), FRAME, mask=tissue(), points=points, mpp_um=8.0)
    assert near(colour_at(path, 100, 100), POSITIVE_RGB)
    assert near(colour_at(path, 300, 200), NEGATIVE_RGB)
    assert not near(colour_at(path, 200, 150), POSITIVE_RGB)


def test_many_cells_are_the_local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DOTS_MAX_CELLS", 1000)
    points = random_cells(5000, FRAME)
    x, _ = FRAME.from_l0(points.x_l0, points.y_l0)
    left = CellPoints(points.x_l0, points.y_l0, points.score, (x < WIDTH / 2).astype(np.uint8))
    path = tmp_path / "overlay.jpg"
    write_overlay(path, overview(), FRAME, mask=tissue(), points=left, mpp_um=8.0)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))[60:240].astype(int)
    assert pixels[:, 60:150, 0].mean() > pixels[:, 250:340, 0].mean() + 40
    assert pixels[:, 250:340, 2].mean() > pixels[:, 60:150, 2].mean() + 40


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_the_same_slide_gives_the_same_bytes(tmp_path: Path, count: int) -> None:
    points = random_cells(count, FRAME)
    for name in ("a", "b"):
        path = tmp_path / name / "overlay.jpg"
        write_overlay(path, overview(), FRAME, mask=tissue(), points=points, mpp_um=8.0)
    first, second = sorted(tmp_path.rglob("overlay.jpg"))
    assert first.read_bytes() == second.read_bytes()


def test_a_slide_without_tissue_still_has_an_overlay(tmp_path: Path) -> None:
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    path = tmp_path / "overlay.jpg"
    write_overlay(path, overview(), FRAME, mask=nothing, points=CellPoints.empty(), mpp_um=8.0)
    assert path.is_file()


def test_arrays_of_different_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ in size"):
        write_overlay(
            tmp_path / "overlay.jpg",
            overview(),
            FRAME,
            mask=tissue()[1:],
            points=CellPoints.empty(),
            mpp_um=8.0,
        )
