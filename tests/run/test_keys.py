"""A result holds as long as everything that could change it is the same."""

from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.model.card import ModelCard, load_card
from pipeline.run.job import (
    CellRule,
    SlideJob,
    changed_parts,
    prediction_key,
    region_match,
    score_key,
)
from pipeline.run.region_of_interest import score_files
from tests.run.conftest import Configure


def job_of(config: RunConfig) -> SlideJob:
    return SlideJob("a-1", "/a.tif", "a.tif", "/out", config, config.prediction.model, "w", "r")


def keys_of(config: RunConfig, card: ModelCard, content: str = "c") -> tuple[dict[str, str], ...]:
    job = job_of(config)
    return prediction_key(job, card, content), score_key(job, card, score_files(job))


def test_region_size_workers_and_window_are_in_no_key(
    configure: Configure, tiny_model: Path
) -> None:
    card = load_card(tiny_model)
    other = configure(
        "prediction.region_tiles=5", "cluster.workers=7", "cluster.window_per_worker=9"
    )
    assert keys_of(configure(), card) == keys_of(other, card)


def test_what_can_change_a_result_is_in_the_key_and_is_named(
    configure: Configure, tiny_model: Path
) -> None:
    card = load_card(tiny_model)
    before, _ = keys_of(configure(), card)
    cases = {
        "tissue.margin_um=10": "tissue.margin_um",
        "prediction.tile_core_px=256": "prediction.tile_core_px",
        "prediction.halo_px=96": "prediction.halo_px",
        "slides.reader=tiffslide": "slides.reader",
        "slides.mpp=0.3": "slides.mpp",
        "heatmap.downsample=2": "heatmap.downsample",
    }
    for pair, name in cases.items():
        after, _ = keys_of(configure(pair), card)
        assert changed_parts(before, after) == [name], pair
    assert changed_parts(before, keys_of(configure(), card, "new")[0]) == ["slide content"]


def test_a_threshold_above_the_floor_changes_the_score_only(
    configure: Configure, tiny_model: Path
) -> None:
    card = load_card(tiny_model)
    before, after = keys_of(configure(), card), keys_of(configure("prediction.threshold=3"), card)
    assert before[0] == after[0]
    assert changed_parts(before[1], after[1]) == ["prediction.threshold"]


def test_a_threshold_below_the_floor_lowers_the_floor(
    configure: Configure, tiny_model: Path
) -> None:
    card = load_card(tiny_model)
    assert CellRule.of(configure(), card).floor == card.floor
    assert CellRule.of(configure("prediction.threshold=0.5"), card).floor == 0.5


def test_the_card_gives_the_halo_unless_it_was_set(configure: Configure, tiny_model: Path) -> None:
    card = load_card(tiny_model)
    assert CellRule.of(configure(), card).halo_px == card.halo_px
    assert CellRule.of(configure("prediction.halo_px=64"), card).halo_px == 64


def test_windows_that_reach_beyond_the_next_region_are_refused_at_the_start(
    configure: Configure, tiny_model: Path
) -> None:
    card = load_card(tiny_model).model_copy(update={"nms_radius_um": 80.0})
    window = card.peak_rule().window
    assert 128 < window - 1 <= 2 * 128 * 2
    CellRule.of(configure("prediction.region_tiles=4"), card)
    with pytest.raises(ConfigError, match=rf"windows of {window} px; raise .*region_tiles=1"):
        CellRule.of(configure("prediction.region_tiles=1"), card)


def test_a_region_file_of_another_region_size_does_not_match(
    configure: Configure, tiny_model: Path
) -> None:
    key, _ = keys_of(configure(), load_card(tiny_model))
    assert region_match(key, 2) != region_match(key, 4)
