"""Recoloured fields: places stay, classes show, the same seed gives the same pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.classical import detect_classical
from pipeline.train.config import SourceConfig
from pipeline.train.datasets import load_fields
from pipeline.train.fields import UNCLASSED, Field
from pipeline.train.recolour import recoloured

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])


def he_field(seed: int = 0, side: int = 240, mpp_um: float = 0.5) -> Field:
    """Round purple nuclei on a pink ground, every second one marked as no tumour cell."""
    rng = np.random.default_rng(seed)
    grid = np.arange(20, side - 10, 32) + 0.5
    x_px, y_px = (axis.ravel() for axis in np.meshgrid(grid, grid))
    rows, cols = np.indices((side, side)) + 0.5
    nuclei = np.zeros((side, side))
    for x, y in zip(x_px, y_px, strict=True):
        nuclei = np.maximum(nuclei, (cols - x) ** 2 + (rows - y) ** 2 < 8**2)
    pink = 0.3 + rng.normal(0, 0.02, (side, side))
    density = nuclei[..., None] * HAEMATOXYLIN + pink[..., None] * EOSIN
    image = (255 * np.exp(-density)).clip(0, 255).astype(np.uint8)
    cell = np.arange(len(x_px)) % 2 == 0
    others = np.column_stack([x_px[~cell], y_px[~cell]])
    label = np.full(int(cell.sum()), UNCLASSED, np.uint8)
    return Field("he", "he", image, x_px[cell], y_px[cell], label, mpp_um, other_xy_px=others)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    field = he_field()
    first, again, other = (recoloured(field, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.label, again.label)
    assert not np.array_equal(first.image, other.image)


def test_cells_stay_where_they_were_and_all_have_a_class() -> None:
    field = he_field()
    painted = recoloured(field, seed=1)
    assert np.array_equal(painted.x_px, field.x_px)
    assert np.array_equal(painted.y_px, field.y_px)
    assert np.array_equal(painted.other_xy_px, field.other_xy_px)
    assert painted.classed
    assert painted.group == field.group


def test_a_positive_cell_is_browner_than_a_negative_one() -> None:
    field = he_field()
    seen = 0
    for seed in range(20):
        painted = recoloured(field, seed=seed)
        red_over_blue = np.array(
            [
                float(painted.image[int(y), int(x), 0]) - float(painted.image[int(y), int(x), 2])
                for x, y in zip(painted.x_px, painted.y_px, strict=True)
            ]
        )
        positive = painted.label == 1
        if positive.sum() < 3 or (~positive).sum() < 3:
            continue
        seen += 1
        assert red_over_blue[positive].mean() > red_over_blue[~positive].mean() + 10
    assert seen >= 10


def test_a_field_without_a_cell_is_painted_without_brown() -> None:
    field = he_field()
    nobody = np.empty(0)
    empty = Field("none", "none", field.image, nobody, nobody, np.empty(0, np.uint8), field.mpp_um)
    painted = recoloured(empty, seed=0)
    assert painted.image.shape == field.image.shape
    assert len(painted.label) == 0


@pytest.mark.slow
def test_the_detector_without_a_network_tells_the_classes_of_a_painted_field() -> None:
    right = total = 0
    for seed in range(8):
        painted = recoloured(he_field(seed), seed=seed)
        x_px, y_px, label = detect_classical(painted.image, mpp_um=painted.mpp_um)
        for x, y, truth in zip(painted.x_px, painted.y_px, painted.label, strict=True):
            near = (x_px - x) ** 2 + (y_px - y) ** 2 < 6**2
            if near.any():
                total += 1
                right += int(label[near][0] == truth)
    assert total > 100
    assert right / total > 0.7


def test_a_source_asked_for_variants_gives_so_many_of_each_field(tmp_path: Path) -> None:
    field = he_field(side=96)
    Image.fromarray(field.image).save(tmp_path / "a.png")
    Image.fromarray(field.image[::-1].copy()).save(tmp_path / "b.png")
    rows = [
        f"{name},{x - 0.5},{y - 0.5},cell" for name in ("a.png", "b.png") for x, y in [(20, 20)]
    ]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,label", *rows]), encoding="utf-8")
    source = SourceConfig(name="he", kind="points", path=str(tmp_path), mpp_um=0.5, recolour=3)
    fields = load_fields(source)
    assert len(fields) == 6
    assert all(made.classed for made in fields)
    assert len({made.image.tobytes() for made in fields}) == 6
    later = load_fields(source.model_copy(update={"seed": 1}))
    assert np.array_equal(later[0].image, fields[1].image)
