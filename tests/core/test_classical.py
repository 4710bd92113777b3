"""The classical baseline: what it finds on drawn nuclei and on real fields, and its locality."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.classical import (
    CLASSICAL_MPP_UM,
    CONTEXT_UM,
    DAB,
    HAEMATOXYLIN,
    classical_candidates,
    detect_classical,
    stain_densities,
)
from pipeline.core.matching import Counts, count_matches
from pipeline.core.resampling import axis_taps, resample

RADIUS_UM = 3.125


def drawn(mpp_um: float) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.uint8]]:
    """A 200 um field of 4 um nuclei on a lattice, every third one brown; (x, y) in pixels."""
    side = round(200 / mpp_um)
    centres = np.array([(x, y) for y in range(20, 190, 20) for x in range(20, 190, 20)], float)
    label = (np.arange(len(centres)) % 3 == 0).astype(np.uint8)
    y_um, x_um = (np.mgrid[0:side, 0:side] + 0.5) * mpp_um
    od = np.full((side, side, 3), 0.02)
    for (x, y), positive in zip(centres, label, strict=True):
        stain = np.array(DAB if positive else HAEMATOXYLIN)
        inside = (x_um - x) ** 2 + (y_um - y) ** 2 < 4.0**2
        od[inside] += stain / np.linalg.norm(stain) * (1.2 if positive else 0.4)
    return (255 * 10**-od).astype(np.uint8), centres / mpp_um, label


@pytest.mark.parametrize("mpp_um", [0.25, 0.5, 0.8])
def test_drawn_nuclei_are_found_where_they_are_with_their_stain(mpp_um: float) -> None:
    rgb, truth, label = drawn(mpp_um)
    x, y, found_label = detect_classical(rgb, mpp_um=mpp_um)
    order = np.lexsort((x.round(), (y * mpp_um / 20).round()))
    assert len(x) == len(truth)
    assert np.abs(np.column_stack([x, y])[order] - truth).max() * mpp_um < 0.6
    assert np.array_equal(found_label[order], label)


def test_candidates_under_any_thresholds_are_the_cells_found_with_them() -> None:
    rgb = np.random.default_rng(4).integers(0, 256, (160, 150, 3)).astype(np.uint8)
    some = classical_candidates(rgb, mpp_um=0.5, floor=0.01)
    numbers = []
    for threshold, dab_threshold in ((0.01, 0.2), (0.02, 0.4), (0.04, 0.6)):
        asked = {"threshold": threshold, "dab_threshold": dab_threshold}
        chosen, found = some.cells(**asked), detect_classical(rgb, mpp_um=0.5, **asked)
        assert np.array_equal(np.column_stack(chosen), np.column_stack(found))
        numbers.append(len(found[0]))
    assert numbers[0] > numbers[1] > numbers[2] > 0


@pytest.mark.parametrize("level", [0, 128, 240, 255])
def test_flat_pictures_have_no_nuclei(level: int) -> None:
    x, y, label = detect_classical(np.full((90, 70, 3), level, np.uint8), mpp_um=0.5)
    assert len(x) == len(y) == len(label) == 0


def test_noisy_glass_has_no_nuclei() -> None:
    noise = np.random.default_rng(0).normal(240, 4, (300, 300, 3))
    rgb = np.clip(noise, 0, 255).astype(np.uint8)
    assert len(detect_classical(rgb, mpp_um=0.5)[0]) == 0


def test_pixels_beyond_the_context_change_nothing() -> None:
    rgb = np.random.default_rng(1).integers(40, 250, (160, 300, 3), dtype=np.uint8)
    margin = int(CONTEXT_UM / 0.5)
    x, y, label = detect_classical(rgb, mpp_um=0.5)
    part_x, part_y, part_label = detect_classical(rgb[:, 100:], mpp_um=0.5)
    keep, part_keep = x >= 100 + margin, part_x >= margin
    assert np.array_equal(y[keep], part_y[part_keep])
    assert np.allclose(x[keep], part_x[part_keep] + 100, rtol=0, atol=1e-9)
    assert np.array_equal(label[keep], part_label[part_keep])


def test_pure_stains_are_separated() -> None:
    for vector, stain, other in ((HAEMATOXYLIN, 0, 1), (DAB, 1, 0)):
        od = 0.8 * np.array(vector) / np.linalg.norm(vector)
        rgb = np.round(256 * 10**-od - 1).astype(np.uint8)[None, None]
        densities = stain_densities(rgb)
        assert densities[stain][0, 0] == pytest.approx(0.8, abs=0.01)
        assert densities[other][0, 0] < 0.01


def bcdata_field(
    folder: Path, name: str
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.uint8]]:
    """One field at the detector's resolution, its truth in that frame."""
    factor = CLASSICAL_MPP_UM / 0.25
    source = np.asarray(Image.open(folder / "images" / name).convert("RGB"))
    taps = axis_taps(0, int(640 / factor), origin=0.0, scale=factor)
    with (folder / "points.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["image"] == name]
    xy = (np.array([(float(row["x"]), float(row["y"])) for row in rows]) + 0.5) / factor
    label = np.array([row["label"] == "positive" for row in rows]).astype(np.uint8)
    return resample(source, taps, taps), xy, label


def test_scores_on_real_fields_it_was_not_tuned_on_are_those_reported(ki67_data: Path) -> None:
    every, by_label = Counts(), [Counts(), Counts()]
    for number in range(10, 18):
        rgb, truth, label = bcdata_field(ki67_data / "bcdata_sample", f"{number}.png")
        x, y, found_label = detect_classical(rgb, mpp_um=CLASSICAL_MPP_UM)
        found, radius = np.column_stack([x, y]), RADIUS_UM / CLASSICAL_MPP_UM
        every += count_matches(found, truth, radius)
        for value in (0, 1):
            by_label[value] += count_matches(
                found[found_label == value], truth[label == value], radius
            )
    assert every.f1 == pytest.approx(0.696, abs=0.01)
    assert by_label[1].f1 == pytest.approx(0.732, abs=0.02)
    assert by_label[0].f1 == pytest.approx(0.613, abs=0.02)
