"""Found against known cells: figures, units, and the classical detector over a whole slide."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline.cli import comparison
from pipeline.cli.comparison import Figures, classical_cells, compare
from pipeline.config import SlideSettings
from pipeline.core.classical import DAB, HAEMATOXYLIN
from pipeline.core.points import CellPoints

MPP = (0.25, 0.25)


def cells(*rows: tuple[float, float, int]) -> CellPoints:
    """Cells of (x_l0, y_l0, label)."""
    table = np.array(rows, np.float64).reshape(-1, 3)
    score = np.ones(len(table), np.float32)
    return CellPoints(table[:, 0], table[:, 1], score, table[:, 2].astype(np.uint8))


def test_a_slide_equal_to_its_truth_is_perfect() -> None:
    known = cells((10, 10, 1), (50, 50, 0), (90, 90, 0))
    assert compare(known, known, MPP) == Figures(1, 2, 1.0, 1.0, 1.0, 100 / 3, 0.0)


def test_a_wrong_label_costs_both_classes_but_not_the_detection() -> None:
    figures = compare(cells((10, 10, 1), (50, 50, 1)), cells((10, 10, 1), (50, 50, 0)), MPP)
    assert figures.f1_all == 1.0
    assert figures.f1_positive == pytest.approx(2 / 3)
    assert figures.f1_negative == 0.0
    assert figures.index_error_points == 50.0


def test_the_radius_is_in_micrometres_along_each_axis() -> None:
    known = cells((100, 100, 1))
    assert compare(cells((112, 100, 1)), known, MPP).f1_all == 1.0  # 3.0 um
    assert compare(cells((113, 100, 1)), known, MPP).f1_all == 0.0  # 3.25 um
    assert compare(cells((106, 100, 1)), known, (0.5, 0.25)).f1_all == 1.0
    assert compare(cells((107, 100, 1)), known, (0.5, 0.25)).f1_all == 0.0


def test_without_cells_figures_are_none_not_0() -> None:
    nothing = compare(cells(), cells(), MPP)
    assert nothing == Figures(0, 0, None, None, None, None, None)
    missed = compare(cells(), cells((10, 10, 1)), MPP)
    assert missed.f1_all == 0.0
    assert missed.index_error_points is None


def drawn_slide(path: Path) -> CellPoints:
    """Write a slide of 1200 x 900 px with nuclei 60 px apart, every third one brown."""
    rows = [
        (x, y, int((x + y) % 180 == 0)) for y in range(60, 880, 60) for x in range(60, 1180, 60)
    ]
    known = cells(*rows)
    y_px, x_px = np.mgrid[0:900, 0:1200] + 0.5
    density = np.full((900, 1200, 3), 0.03)
    for x, y, label in rows:
        stain = np.array(DAB if label else HAEMATOXYLIN)
        inside = (x_px - x) ** 2 + (y_px - y) ** 2 < 15**2
        density[inside] = stain / np.linalg.norm(stain) * (1.2 if label else 0.5)
    pixels: NDArray[np.uint8] = (245 * 10**-density).astype(np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        compression="deflate",
        resolution=(40_000, 40_000),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    return known


def test_the_classical_detector_reads_a_slide_region_by_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = drawn_slide(tmp_path / "drawn.tif")
    whole = classical_cells(tmp_path / "drawn.tif", SlideSettings())
    figures = compare(whole, known, MPP)
    assert figures.f1_all == figures.f1_positive == figures.f1_negative == 1.0
    assert figures.index_error_points == 0.0
    monkeypatch.setattr(comparison, "_REGION_PX", 97)
    pieces = classical_cells(tmp_path / "drawn.tif", SlideSettings())
    assert len(pieces) == len(whole)
    assert np.allclose(pieces.x_l0, whole.x_l0, rtol=0, atol=1e-9)
    assert np.allclose(pieces.y_l0, whole.y_l0, rtol=0, atol=1e-9)
    assert np.array_equal(pieces.label, whole.label)
