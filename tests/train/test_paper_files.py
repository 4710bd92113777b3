"""``ki67 evaluate`` gives the published method's own numbers on its own files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pipeline.cli import cli
from pipeline.train.loaders.paper import FOUND_COLUMNS, TRUTH_COLUMNS, read_points

TRUTH, FOUND = "BCD_test_gt.txt", "HRNet_BCD_test_pred.txt"


@pytest.fixture(scope="module")
def files(ki67_data: Path) -> tuple[Path, Path]:
    folder = ki67_data / "paper_point_files"
    if not folder.is_dir():
        pytest.skip("the real data lack the published point files")
    return folder / TRUTH, folder / FOUND


@pytest.fixture(scope="module")
def figures(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    truth, found = files
    out = tmp_path_factory.mktemp("paper")
    result = CliRunner().invoke(
        cli,
        [
            *("evaluate", "--fields", str(truth), "--kind", "paper_points", "--mpp", "0.3125"),
            *("--predictions", str(found), "--out", str(out)),
        ],
    )
    assert result.exit_code == 0, result.output
    scores: dict[str, Any] = json.loads((out / "evaluation.json").read_text())["BCD_test_gt"]
    return scores


def test_f1_at_both_radii_and_the_count_errors_are_the_published_ones(
    figures: dict[str, Any],
) -> None:
    wide, narrow = figures["at_10_px512"], figures["at_5_px512"]

    assert wide["fields"] == 402
    assert round(100 * wide["f1_all"], 2) == 84.20
    assert round(100 * wide["precision_all"], 2) == 84.28
    assert round(100 * wide["recall_all"], 2) == 84.13
    assert round(100 * narrow["f1_all"], 2) == 72.06
    assert round(wide["count_mae"], 2) == 19.44
    assert round(wide["count_rmse"], 2) == 26.14


def test_at_its_resolution_the_published_frame_and_micrometres_agree(
    figures: dict[str, Any],
) -> None:
    for frame, um in (("at_10_px512", "at_3.125_um"), ("at_5_px512", "at_1.5625_um")):
        assert figures[frame]["f1_all"] == figures[um]["f1_all"]


def test_marks_counted_once_give_the_higher_figure(figures: dict[str, Any]) -> None:
    single = figures["at_10_px512"]["without_duplicates"]

    assert round(100 * single["f1_all"], 2) == 84.38
    low, high = figures["at_10_px512"]["interval95"]["f1_all"]
    assert low < 0.8420 < high


def test_matching_by_raw_distance_first_would_lose_pairs(files: tuple[Path, Path]) -> None:
    """The figure that is not used: nearest sum of distances, gated afterwards."""
    truth, found = (
        read_points(path, columns)
        for path, columns in zip(files, (TRUTH_COLUMNS, FOUND_COLUMNS), strict=True)
    )
    hits = total = 0
    for name, true_xy in truth.items():
        found_xy = found.get(name, np.empty((0, 2)))
        distance = cdist(found_xy, true_xy)
        rows, columns = linear_sum_assignment(distance)
        hits += int((distance[rows, columns] <= 10).sum())
        total += len(true_xy) + len(found_xy)

    assert round(100 * 2 * hits / total, 2) == 78.50
