"""A stored model is scored with another post-processing rule by name."""

import numpy as np
import pytest

from pipeline.core.lmds import LMDS_SHARE
from pipeline.train.detection import detect
from pipeline.train.fields import Field
from tests.run.tiny_network import save_tiny_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_network(tmp_path_factory.mktemp("rules") / "tiny"))


@pytest.fixture(scope="module")
def field() -> Field:
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    none = np.empty(0)
    return Field("noise", "noise", image, none, none, np.empty(0, np.uint8), 0.5)


def test_the_cards_rule_is_used_unless_another_is_named(model: str, field: Field) -> None:
    own, named = detect(model, [field]), detect(model, [field], post="ccls")
    assert own.threshold == named.threshold == 2.5
    assert np.array_equal(own.candidates[0].x_px, named.candidates[0].x_px)


def test_lmss_finds_no_fewer_maxima_than_ccls(model: str, field: Field) -> None:
    ccls = detect(model, [field], post="ccls").candidates[0]
    lmss = detect(model, [field], post="lmss").candidates[0]
    assert len(lmss.x_px) > len(ccls.x_px) > 0


def test_lmds_brings_its_own_threshold_and_scores_up_to_1(model: str, field: Field) -> None:
    found = detect(model, [field], post="lmds")
    assert found.threshold == LMDS_SHARE
    assert found.candidates[0].score.max() == pytest.approx(1.0)
