"""The matcher and the figures give the published method's own numbers on its own files."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.train.evaluate import FoundCells, evaluate_points
from pipeline.train.fields import Field

SIDE_PX, MPP_UM = 512, 0.3125
Points = dict[int, NDArray[np.float64]]


def read_points(path: Path, columns: int) -> Points:
    """Read ``id n`` and then n groups of ``columns`` numbers per line; x and y come first."""
    points = {}
    for line in path.read_text().splitlines():
        numbers = np.array(line.split(), np.float64)
        points[int(numbers[0])] = numbers[2:].reshape(-1, columns)[:, :2]
    return points


@pytest.fixture(scope="module")
def compared(ki67_data: Path) -> tuple[list[Field], list[FoundCells]]:
    folder = ki67_data / "paper_point_files"
    if not folder.is_dir():
        pytest.skip("the real data lack the published point files")
    truth = read_points(folder / "BCD_test_gt.txt", 5)
    said = read_points(folder / "HRNet_BCD_test_pred.txt", 2)
    image = np.zeros((SIDE_PX + 1, SIDE_PX + 1, 3), np.uint8)
    fields, cells = [], []
    for number, xy in truth.items():
        label = np.zeros(len(xy), np.uint8)
        fields.append(Field(str(number), "g", image, xy[:, 0], xy[:, 1], label, MPP_UM))
        mine = said.get(number, np.empty((0, 2)))
        cells.append(FoundCells(mine[:, 0], mine[:, 1], np.zeros(len(mine), np.uint8)))
    return fields, cells


def test_f1_at_ten_pixels_and_the_count_errors_are_the_published_ones(
    compared: tuple[list[Field], list[FoundCells]],
) -> None:
    figures = evaluate_points(*compared, radius_um=10 * MPP_UM)

    assert len(compared[0]) == 402
    assert round(100 * figures["f1_all"], 2) == 84.20
    assert round(figures["count_mae"], 2) == 19.44
    assert round(figures["count_rmse"], 2) == 26.14


def test_f1_at_five_pixels_is_the_published_one(
    compared: tuple[list[Field], list[FoundCells]],
) -> None:
    figures = evaluate_points(*compared, radius_um=5 * MPP_UM)

    assert round(100 * figures["f1_all"], 2) == 72.06
