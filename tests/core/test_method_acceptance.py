"""The eleven acceptance tests of the method, by number: maps, peaks, tiles, folding, matching."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pipeline.core.ccls import Peaks, localize, merge_ties
from pipeline.core.localizing import PeakRule, PostKind
from pipeline.core.maps import edt_map, edt_profile, inverse_profile
from pipeline.core.matching import Counts, count_matches
from pipeline.core.seams import BorderStrips, border_strips, settle_region, settle_seams
from pipeline.core.tiling import RegionGrid, TileLattice
from pipeline.model.difference import DifferenceConv2d
from pipeline.model.mga import MGA

# distance 0 to 20 px: EDT with Max(DT) of 20, 50, 100 and 300 px, before the clip
EDT_TABLE = {
    20: "1 .5 .2612 .1 .0303 .0079 .0019 .0004 .0001 0 0 0 0 0 0 0 0 0 0 0 0",
    50: "1 .5 .3489 .23 .1416 .0821 .0454 .0242 .0125 .0063 .0032 .0015 .0007 .0004 .0002 .0001 "
    "0 0 0 0 0",
    100: "1 .5 .381 .2934 .2231 .1667 .1223 .0883 .0628 .0441 .0307 .0211 .0144 .0098 .0066 .0044 "
    ".003 .002 .0013 .0009 .0006",
    300: "1 .5 .403 .3409 .2936 .2548 .222 .1936 .1688 .1471 .128 .1112 .0965 .0836 .0724 .0625 "
    ".0539 .0464 .0399 .0343 .0295",
}
IDT = (
    "1 .5 .3333 .25 .2 .1667 .1429 .125 .1111 .1 .0909 .0833 .0769 .0714 .0667 .0625 .0588 .0556 "
    ".0526 .05 .0476"
)
FIDT = (
    "1 .5 .3664 .2911 .2404 .2029 .1738 .1503 .131 .1147 .1009 .089 .0787 .0697 .0619 .055 .049 "
    ".0436 .0389 .0346 .0309"
)
DISTANCES = np.arange(21, dtype=float)


def values(text: str) -> list[float]:
    return [float(word) for word in text.split()]


def blobs(centres: list[tuple[float, float]], peaks: list[float], side: int) -> NDArray[np.float32]:
    """One channel of Gaussian blobs; centres are (x, y)."""
    y, x = np.mgrid[0:side, 0:side] + 0.5
    heatmap = np.zeros((side, side))
    for (cx, cy), peak in zip(centres, peaks, strict=True):
        heatmap = np.maximum(heatmap, peak * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18))
    return heatmap[None].astype(np.float32)


@pytest.mark.parametrize("largest", EDT_TABLE)
def test_acceptance_01_the_profile_is_the_table_to_four_digits(largest: int) -> None:
    found = edt_profile(DISTANCES, float(largest), floor=0.0)
    assert found == pytest.approx(values(EDT_TABLE[largest]), abs=1e-4)


def test_acceptance_01_idt_and_fidt_are_the_table_to_four_digits() -> None:
    idt = inverse_profile(DISTANCES, slope=0.0, power=1.0, floor=0.0)
    fidt = inverse_profile(DISTANCES, slope=0.02, power=0.75, floor=0.0)
    assert idt == pytest.approx(values(IDT), abs=1e-4)
    assert fidt == pytest.approx(values(FIDT), abs=1e-4)


@pytest.mark.parametrize("largest", [1.0, 20.0, 118.0, 724.0])
def test_acceptance_02_the_centre_is_1_and_one_pixel_away_is_a_half(largest: float) -> None:
    heatmap = edt_map(np.array([20.5]), np.array([30.5]), (64, 64), max_dt_px=largest)
    assert heatmap[30, 20] == 1.0
    assert {heatmap[29, 20], heatmap[31, 20], heatmap[30, 19], heatmap[30, 21]} == {0.5}


@pytest.mark.parametrize("largest", [None, 118.0])
def test_acceptance_03_zero_one_and_duplicate_points(largest: float | None) -> None:
    none = np.empty(0)
    assert not edt_map(none, none, (64, 64), max_dt_px=largest).any()
    once = edt_map(np.array([20.5]), np.array([30.5]), (64, 64), max_dt_px=largest)
    twice = edt_map(np.array([20.5, 20.5]), np.array([30.5, 30.5]), (64, 64), max_dt_px=largest)
    assert np.argwhere(once == 1).tolist() == [[30, 20]]
    assert np.array_equal(once, twice)


def test_acceptance_04_two_pools_of_11_are_one_of_21() -> None:
    torch.manual_seed(0)
    heatmap = torch.rand(1, 1, 97, 133)
    pool = torch.nn.functional.max_pool2d
    twice = pool(pool(heatmap, 11, 1, 5), 11, 1, 5)
    assert torch.equal(twice, pool(heatmap, 21, 1, 10))
    ours = localize(heatmap[0].numpy(), window=21, threshold=0.06)
    theirs = np.argwhere((twice == heatmap)[0, 0].numpy())
    assert np.array_equal(np.column_stack([ours.row, ours.col]), theirs)


def test_acceptance_05_one_blob_one_tie_and_one_plateau_are_one_cell_each() -> None:
    assert len(localize(blobs([(30.5, 30.5)], [0.9], 64), window=21, threshold=0.06)) == 1
    for pixels in ([(20, 30), (20, 31)], [(20, 30), (20, 31), (21, 30), (21, 31)]):
        heatmap = np.zeros((1, 64, 64), np.float32)
        for row, col in pixels:
            heatmap[0, row, col] = 0.8
        assert len(localize(heatmap, window=21, threshold=0.06)) == 1


def test_acceptance_06_a_tile_of_noise_has_no_cell() -> None:
    noise = np.random.default_rng(0).uniform(0, 0.015, (1, 512, 512)).astype(np.float32)
    assert len(localize(noise, window=21, threshold=0.06)) == 0


def test_acceptance_07_pale_cells_do_not_mind_a_bright_neighbour() -> None:
    pale = [(60.5 + 80 * col, 60.5 + 80 * row) for row in range(5) for col in range(5)]
    alone = blobs(pale, [0.3] * 25, 480)
    beside = blobs([*pale, (20.5, 20.5)], [0.3] * 25 + [0.95], 480)
    assert len(localize(alone, window=21, threshold=0.06)) == 25
    assert len(localize(beside, window=21, threshold=0.06)) == 26
    relative = PeakRule.named("lmds", radius_um=3.1, mpp_um=0.3125)
    assert len(relative.candidates(alone, floor=100 / 255)) == 25
    assert len(relative.candidates(beside, floor=100 / 255)) == 1  # why it is for comparison only


@pytest.mark.parametrize("kind", ["ccls", "lmss"])
@pytest.mark.parametrize("side", [1, 2])
def test_acceptance_08_a_map_in_pieces_has_the_cells_of_the_whole(
    kind: PostKind, side: int
) -> None:
    rng = np.random.default_rng(4)
    smooth = np.repeat(np.repeat(rng.random((2, 66, 82)), 3, 1), 3, 2)[:, :192, :240]
    heatmap = (smooth + 0.01 * rng.random((2, 192, 240))).astype(np.float32)
    rule = PeakRule.named(kind, radius_um=3.1, mpp_um=0.3125)
    grid = RegionGrid(TileLattice(240, 192, 64, 32, 32), side)
    parts: list[Peaks] = []
    undecided: list[Peaks] = []
    strips: list[BorderStrips] = []
    for index in range(len(grid)):
        box = grid.region(index).box
        piece = heatmap[:, box.y0 : box.y1, box.x0 : box.x1]
        settled, open_still = settle_region(
            piece, box, plane_width=240, plane_height=192, window=rule.window, floor=0.3
        )
        parts.append(settled)
        undecided.append(open_still)
        strips.append(border_strips(piece, window=rule.window))

    def strips_of(row: int, col: int) -> BorderStrips:
        return strips[row * grid.cols + col]

    seams = settle_seams(grid, Peaks.concatenate(undecided), strips_of, window=rule.window)
    cells = merge_ties(Peaks.concatenate([*parts, seams]))
    whole = rule.candidates(heatmap, floor=0.3)
    assert len(whole) > 20
    for name in ("x_px", "y_px", "row", "col", "score", "label"):
        assert np.array_equal(getattr(cells, name), getattr(whole, name)), name


@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_acceptance_09_a_difference_convolution_folds_into_an_ordinary_one(
    dilation: int, stride: int
) -> None:
    torch.manual_seed(dilation)
    layer = DifferenceConv2d(8, 12, 3, stride=stride, dilation=dilation, theta=0.7)
    x = torch.randn(2, 8, 33, 47)
    centre = layer.theta * layer.weight.sum(dim=(2, 3), keepdim=True)
    plain = torch.nn.functional.conv2d(x, layer.weight, None, stride, dilation, dilation)
    literal = plain - torch.nn.functional.conv2d(x, centre, None, stride)
    with torch.no_grad():
        assert (layer.fold()(x) - literal).abs().max() < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
def test_acceptance_09_the_whole_module_folds(stride: int) -> None:
    torch.manual_seed(stride)
    module = MGA(3, 64, stride=stride)
    with torch.no_grad():
        for _ in range(5):
            module(torch.randn(4, 3, 32, 32))
        x = torch.randn(1, 3, 40, 56)
        before = module.eval()(x)
        module.fold()
        assert (module(x) - before).abs().max() < 1e-5


Points = dict[int, NDArray[np.float64]]


def read_points(path: Path, columns: int) -> Points:
    """Lines of ``id n`` and n groups of ``columns`` numbers that start with x and y."""
    lines = [np.array(line.split(), np.float64) for line in path.read_text().splitlines()]
    return {int(line[0]): line[2:].reshape(-1, columns)[:, :2] for line in lines}


@pytest.fixture(scope="module")
def published(ki67_data: Path) -> tuple[Points, Points]:
    """Annotated and predicted points of the 402 BCData test images, 512-pixel frame."""
    folder = ki67_data / "paper_point_files"
    if not folder.is_dir():
        pytest.skip("the real data lack the published point files")
    truth = read_points(folder / "BCD_test_gt.txt", 5)
    found = read_points(folder / "HRNet_BCD_test_pred.txt", 2)
    return truth, {name: found.get(name, np.empty((0, 2))) for name in truth}


def test_acceptance_10_the_matcher_gives_the_published_figures(
    published: tuple[Points, Points],
) -> None:
    truth, found = published
    f1 = {}
    for radius in (5.0, 10.0):
        counts = [count_matches(found[name], truth[name], radius) for name in truth]
        f1[radius] = sum(counts, Counts()).f1
    errors = np.array([len(found[name]) - len(truth[name]) for name in truth], np.float64)
    assert round(100 * (f1[5.0] or 0), 2) == 72.06
    assert round(100 * (f1[10.0] or 0), 2) == 84.20
    assert round(float(np.abs(errors).mean()), 2) == 19.44
    assert round(float(np.sqrt((errors**2).mean())), 2) == 26.14


@pytest.mark.slow
def test_acceptance_11_matching_raw_distances_first_loses_pairs(
    published: tuple[Points, Points],
) -> None:
    truth, found = published
    wrong = Counts()
    for name in truth:
        distance = cdist(found[name], truth[name])
        rows, cols = linear_sum_assignment(distance)
        hits = int(np.count_nonzero(distance[rows, cols] <= 10))
        wrong += Counts(hits, len(found[name]) - hits, len(truth[name]) - hits)
    assert round(100 * (wrong.f1 or 0), 2) == 78.50


def test_acceptance_11_our_matcher_keeps_a_pair_that_raw_distances_lose() -> None:
    found, true = np.array([[9.0, 0.0], [10.0, 9.9]]), np.array([[0.0, 0.0], [10.0, 0.0]])
    distance = cdist(found, true)
    rows, cols = linear_sum_assignment(distance)
    assert np.count_nonzero(distance[rows, cols] <= 10) == 1
    assert count_matches(found, true, 10.0).hits == 2
