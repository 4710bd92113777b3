"""The paper's recipe as settings: loads, means what it says, and makes two steps."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from pipeline.config import validated
from pipeline.errors import ConfigError
from pipeline.model.card import load_card
from pipeline.train.config import TrainConfig, load_train_config
from pipeline.train.loop import train
from pipeline.train.optimising import learning_rate

RECIPE = Path(__file__).parents[2] / "workflows" / "configs" / "paper_m_hrnet_w48.toml"
TINY = (
    'architecture="m_hrnet_tiny"',
    "crop_px=64",
    "mpp_um=0.3125",
    "steps=2",
    "validate_every=2",
    "batch=2",
    'device="cpu"',
    "card.halo_px=32",
)


def write_bcdata(folder: Path, split: str) -> None:
    """One image of 80 px in BCData's published form: 64 px at the recipe's resolution."""
    (folder / "images" / split).mkdir(parents=True)
    name = str(len(split))
    Image.fromarray(np.full((80, 80, 3), 230, np.uint8)).save(
        folder / "images" / split / f"{name}.png"
    )
    for word, xy in (("positive", [[20, 30]]), ("negative", [[50, 60], [60, 20]])):
        (folder / "annotations" / split / word).mkdir(parents=True)
        path = folder / "annotations" / split / word / f"{name}.h5"
        with h5py.File(path, "w") as stored:
            stored["coordinates"] = np.array(xy)


def test_the_recipe_is_the_published_one() -> None:
    config = load_train_config(RECIPE)
    rule = config.post.rule(config.mpp_um)
    assert (config.architecture, config.channels, config.network) == (
        "m_hrnet_w48",
        1,
        {"theta": 0.7},
    )
    assert (config.map.kind, config.map.max_dt) == ("edt", "image")
    assert (config.map.c1, config.map.c2, config.map.c3) == (10.0, 0.5, 1.0)
    assert (rule.kind, rule.window) == ("ccls", 21)
    assert (config.batch, config.crop_px) == (4, round(640 * 0.25 / config.mpp_um))
    epoch = 803 / config.batch
    assert config.steps == round(300 * epoch)
    rates = [learning_rate(config, round(at * epoch)) for at in (0, 199, 201, 299)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])


def test_the_recipe_makes_two_steps_with_a_tiny_network(tmp_path: Path) -> None:
    for role in ("train", "validation", "test"):
        write_bcdata(tmp_path / "bcdata", role)

    folder = train(load_train_config(RECIPE, TINY), tmp_path / "out", data=tmp_path)

    card = load_card(folder)
    assert (card.channels, card.post, card.nms_radius_um) == (("cell",), "ccls", 3.1)
    assert card.training["map"]["max_dt"] == "image"
    assert card.training["step"] == 2


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("network.channels=2", "network.channels=2 contradicts classes=unified"),
        ("map.max_dt=-1.0", "max_dt=-1.0 must be above 0 um, or 'image'"),
        ("map.kind=psi", "map.kind: Input should be 'edt', 'idt', 'fidt' or 'density'"),
        ("post.threshold=0.001", "threshold=0.001 is below floor=0.02"),
        ("floor=0.1", "unknown setting floor; did you mean post.floor"),
    ],
)
def test_settings_that_contradict_are_one_line(pair: str, message: str) -> None:
    with pytest.raises(ConfigError) as told:
        load_train_config(RECIPE, [pair])
    assert message in str(told.value)


def test_one_value_per_channel_is_refused() -> None:
    values = load_train_config(RECIPE).model_dump() | {"batch": 1, "crop_px": 32}
    with pytest.raises(ConfigError, match="one value per channel"):
        validated(TrainConfig, values)
