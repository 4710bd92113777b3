"""Synthetic fields: the same from the same seed, true cells where nuclei are, unseen seeds."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.color import rgb2hed

from pipeline.errors import ConfigError
from pipeline.io.synthetic import (
    DEMO_RANGES,
    FIRST_UNSEEN_SEED,
    TRAINING_RANGES,
    Scene,
    SyntheticField,
    draw_style,
    render_field,
    require_seed,
    unseen_seed,
)
from pipeline.io.synthetic.scene import MIN_DISTANCE_UM, TUMOUR

SEEDS = (3, 4, 8, 14)


@pytest.fixture(scope="module", params=SEEDS)
def field(request: pytest.FixtureRequest) -> SyntheticField:
    return render_field(request.param, size_px=512)


def at_centres(plane: np.ndarray, field: SyntheticField) -> np.ndarray:
    return np.asarray(plane[field.y.astype(int), field.x.astype(int)])


def test_the_same_seed_gives_the_same_field_and_another_seed_another() -> None:
    first, again, other = (render_field(seed, size_px=200) for seed in (5, 5, 6))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.image != other.image).any()


def test_a_field_is_what_it_says(field: SyntheticField) -> None:
    assert field.image.shape == (512, 512, 3)
    assert field.image.dtype == field.label.dtype == np.uint8
    assert field.x.dtype == field.y.dtype == np.float64
    assert field.x.size > 20
    assert ((field.x >= 0) & (field.x < 512) & (field.y >= 0) & (field.y < 512)).all()
    assert set(np.unique(field.label)) == {0, 1}


def test_true_centres_lie_on_dark_nuclei(field: SyntheticField) -> None:
    density = -np.log10((field.image.astype(float) + 1) / 256).sum(axis=2)
    near = at_centres(gaussian_filter(density, 4.0), field)
    mask = np.ones(density.shape, bool)
    rows, columns = np.indices(mask.shape)
    for x, y in zip(field.x, field.y, strict=True):
        mask &= (columns - x) ** 2 + (rows - y) ** 2 > 26**2
    around = np.median(density[mask])
    assert (near > around + 0.1).mean() > 0.97
    assert near.mean() > 2.0 * around


def test_positive_cells_are_browner_than_negative_ones(field: SyntheticField) -> None:
    brown = at_centres(gaussian_filter(rgb2hed(field.image)[..., 2], 3.0), field)
    positive, negative = brown[field.label == 1], brown[field.label == 0]
    assert (positive[:, None] > negative[None, :]).mean() > 0.99
    assert np.median(positive) > 3.0 * np.median(negative)


@given(seed=st.integers(0, FIRST_UNSEEN_SEED - 1))
@settings(max_examples=15)
def test_cells_keep_their_distance(seed: int) -> None:
    scene = Scene(seed, draw_style(seed, TRAINING_RANGES))
    nuclei = scene.nuclei_in(0, 0, 150, 150)
    points = np.column_stack([nuclei.x_um, nuclei.y_um])
    if len(points) > 1:
        assert cKDTree(points).query(points, k=2)[0][:, 1].min() >= MIN_DISTANCE_UM - 1e-9


@given(
    seed=st.integers(0, 999),
    x=st.floats(-300, 300),
    y=st.floats(-300, 300),
    cut=st.floats(0.2, 0.8),
)
@settings(max_examples=15)
def test_two_parts_hold_the_cells_of_the_whole(seed: int, x: float, y: float, cut: float) -> None:
    scene = Scene(seed, draw_style(seed, TRAINING_RANGES))
    middle = x + cut * 120
    whole = scene.nuclei_in(x, y, x + 120, y + 90)
    left = scene.nuclei_in(x, y, middle, y + 90)
    right = scene.nuclei_in(middle, y, x + 120, y + 90)
    parts = np.concatenate([left.uniforms, right.uniforms])
    order = np.lexsort((parts[:, 0], parts[:, 1]))
    np.testing.assert_array_equal(parts[order], whole.uniforms)


def test_few_nuclei_are_no_cells_of_the_truth() -> None:
    unmarked = total = 0
    for seed in range(40):
        ranges, own = (TRAINING_RANGES, seed) if seed % 2 else (DEMO_RANGES, unseen_seed(seed))
        nuclei = Scene(own, draw_style(own, ranges)).nuclei_in(0, 0, 160, 160)
        unmarked += int((nuclei.kind != TUMOUR).sum())
        total += nuclei.kind.size
    assert 0.005 < unmarked / total < 0.08


def test_the_same_cells_stand_at_every_resolution() -> None:
    fine, coarse = render_field(9, size_px=400, mpp_um=0.25), render_field(9, 200, mpp_um=0.5)
    np.testing.assert_allclose(fine.x / 2, coarse.x)
    np.testing.assert_array_equal(fine.label, coarse.label)
    halved = fine.image.reshape(200, 2, 200, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - coarse.image).mean() < 10


def test_training_never_meets_a_seed_of_the_demonstration() -> None:
    assert require_seed(FIRST_UNSEEN_SEED - 1, TRAINING_RANGES) == FIRST_UNSEEN_SEED - 1
    assert require_seed(FIRST_UNSEEN_SEED, DEMO_RANGES) == FIRST_UNSEEN_SEED
    with pytest.raises(ConfigError, match="1000000 is no training seed"):
        render_field(FIRST_UNSEEN_SEED, size_px=64)
    with pytest.raises(ConfigError, match="999999 is no demo seed"):
        render_field(FIRST_UNSEEN_SEED - 1, size_px=64, ranges=DEMO_RANGES)
    assert unseen_seed(7) == FIRST_UNSEEN_SEED + 7
    assert unseen_seed(FIRST_UNSEEN_SEED + 7) == FIRST_UNSEEN_SEED + 7


def test_the_demonstration_leaves_the_training_ranges() -> None:
    disjoint = []
    for one in fields(TRAINING_RANGES):
        seen, shown = getattr(TRAINING_RANGES, one.name), getattr(DEMO_RANGES, one.name)
        if isinstance(seen, tuple) and (shown[0] >= seen[1] or shown[1] <= seen[0]):
            disjoint.append(one.name)
    assert {"h_blue", "dab_red", "glass_red", "haze", "weak_share"} <= set(disjoint)


@pytest.mark.parametrize(("size", "mpp"), [(0, 0.25), (64, 0.1), (64, 2.0)])
def test_impossible_fields_are_refused(size: int, mpp: float) -> None:
    with pytest.raises(ConfigError):
        render_field(1, size_px=size, mpp_um=mpp)
