"""A made-up slide as files: thumbnail, areas, cells, density, crops of synthetic tissue."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.core.tiling import Box
from pipeline.io.areas import Area, boxes_outline, excluded_area, mask_outline, write_areas
from pipeline.io.cells import write_cells
from pipeline.io.crops import choose_crops, write_crops
from pipeline.io.density import write_density
from pipeline.io.pictures import write_thumbnail
from pipeline.io.synthetic.ranges import DEMO_RANGES, draw_style, unseen_seed
from pipeline.io.synthetic.render import render_with_nuclei
from pipeline.io.synthetic.scene import TUMOUR, Scene

MPP_UM, MODEL_MPP_UM = 0.25, 0.5
SIDE_UM = 8000.0
MASK_UM = 16.0

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """The files of a drawn slide and what is in them."""

    folder: Path
    cells: CellPoints
    tissue_mm2: float


def make_look(folder: Path, number: int) -> Look:
    """Draw one slide: thumbnail, areas, cells, density, crops."""
    rng = np.random.default_rng(1000 + number)
    side = round(SIDE_UM / MASK_UM)
    frame = PlaneFrame(0, 0, MASK_UM / MPP_UM, MASK_UM / MPP_UM, side, side)
    tissue = _blobs(rng, side, 28, 0.56)
    hot = gaussian_filter(rng.normal(size=(side, side)), 36)
    cells = _cells(rng, tissue, hot / np.abs(hot).max(), frame)
    write_thumbnail(folder / "thumbnail.jpg", _overview(rng, tissue))
    write_cells(folder / "cells.parquet", cells, {})
    _write_areas(folder / "areas.geojson", rng, tissue, frame)
    plane_px = round(SIDE_UM / MODEL_MPP_UM)
    plane = PlaneFrame(0, 0, 2.0, 2.0, plane_px, plane_px)
    write_density(folder / "density", cells, frame=plane, mpp_um=MODEL_MPP_UM)
    hottest = [(float(cells.x_l0[row]), float(cells.y_l0[row])) for row in (0, len(cells) // 2)]
    chosen = choose_crops(cells, plane, seed=number, hotspots_l0=hottest)
    _write_crops(folder / "crops", number, plane, chosen)
    return Look(folder, cells, float(tissue.sum()) * (MASK_UM / 1000) ** 2)


def _write_crops(
    folder: Path, number: int, plane: PlaneFrame, chosen: list[tuple[str, Box]]
) -> None:
    """Crops of a synthetic scene, marked with its own nuclei."""
    seed = unseen_seed(number)
    scene = Scene(seed, draw_style(seed, DEMO_RANGES))
    pixels, parts = {}, []
    for name, box in chosen:
        place = (box.x0, box.y0, box.width, box.height, MODEL_MPP_UM)
        pixels[name], nuclei = render_with_nuclei(scene, *place)
        tumour = nuclei.kind == TUMOUR
        x_l0, y_l0 = nuclei.x_um[tumour] / MPP_UM, nuclei.y_um[tumour] / MPP_UM
        label = nuclei.positive[tumour].astype(np.uint8)
        parts.append(CellPoints(x_l0, y_l0, np.ones(len(label), np.float32), label))
    read = dict(zip((box for _, box in chosen), pixels.values(), strict=True)).__getitem__
    points = CellPoints.concatenate(parts)
    write_crops(folder, read, chosen, frame=plane, points=points, mpp_um=MODEL_MPP_UM)


def _blobs(rng: np.random.Generator, side: int, sigma: float, share: float) -> Mask:
    noise = gaussian_filter(rng.normal(size=(side, side)), sigma)
    y, x = np.mgrid[:side, :side] / side - 0.5
    noise = noise / noise.std() - 9 * (np.hypot(x, y) - 0.3).clip(0)
    return np.asarray(noise > np.quantile(noise, share))


def _cells(
    rng: np.random.Generator, tissue: Mask, hot: NDArray[np.float64], frame: PlaneFrame
) -> CellPoints:
    row, col = np.nonzero(tissue)
    chosen = rng.permutation(len(row))[:9000]
    row, col = row[chosen], col[chosen]
    x_l0, y_l0 = frame.to_l0(col + rng.random(len(col)), row + rng.random(len(row)))
    label = (rng.random(len(row)) < 0.2 + 0.25 * hot[row, col]).astype(np.uint8)
    return CellPoints(x_l0, y_l0, rng.uniform(0.1, 1, len(row)).astype(np.float32), label)


def _overview(rng: np.random.Generator, tissue: Mask) -> NDArray[np.uint8]:
    side = 1024
    mask = np.asarray(Image.fromarray(tissue).resize((side, side), Image.Resampling.NEAREST), float)
    soft = gaussian_filter(mask, 1.5)[..., None]
    grain = gaussian_filter(rng.normal(size=(side, side)), 1.0)[..., None] * 42
    broad = gaussian_filter(rng.normal(size=(side, side)), 12)[..., None] * 260
    colour = np.array([188.0, 176.0, 190.0]) + (grain + broad) * np.array([1.0, 0.95, 0.8])
    glass = np.full(3, 243.0)
    picture: NDArray[np.uint8] = np.clip(soft * colour + (1 - soft) * glass, 0, 255).astype(
        np.uint8
    )
    return picture


def _write_areas(path: Path, rng: np.random.Generator, tissue: Mask, frame: PlaneFrame) -> None:
    row, col = np.nonzero(tissue)
    spots = []
    for radius in (30, 22):
        place = int(rng.integers(len(row)))
        y, x = np.mgrid[: frame.height, : frame.width]
        near = (x - col[place]) ** 2 + ((y - row[place]) * 1.4) ** 2 < radius**2
        spots.append(mask_outline(near & tissue, frame))
    x0, y0 = frame.scale_x * col[0], frame.scale_y * row[len(row) // 2]
    areas = [
        Area("Tissue", "tissue", mask_outline(tissue, frame)),
        excluded_area("out_of_focus", spots[0], measurements={}, metadata={}),
        excluded_area("pen", spots[1], measurements={}, metadata={}),
        Area("Unreadable tiles", "unreadable", boxes_outline([(x0, y0, x0 + 1024, y0 + 1024)])),
    ]
    write_areas(path, areas, slide_id="synthetic", offset_x_l0=0, offset_y_l0=0)
