"""A model trained on every field carries the threshold and the figures of its recipe's folds."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import cli
from pipeline.errors import ConfigError
from pipeline.model.card import load_card
from pipeline.train.config import load_train_config
from pipeline.train.experiment.config import load_experiment
from pipeline.train.experiment.run import run_experiment
from pipeline.train.experiment.table import RESULTS_JSON, write_results
from pipeline.train.experiment.vouching import vouch
from pipeline.train.loop import train

TRAINING = """
architecture = "u_net_tiny"
mpp_um = 0.5
crop_px = 32
batch = 2
steps = 2
lr = 2e-3
threads = 1
[post]
threshold = 0.5
[card]
name = "all"
population = "dots"
caveat = "a test"
licence = "none"
halo_px = 32
[[training]]
name = "dots"
kind = "points"
path = "dots"
mpp_um = 0.5
"""
EXPERIMENT = """
name = "small"
question = "?"
base = "training.toml"
steps = 2
thresholds = "cross_fitted"
[[sources]]
name = "dots"
kind = "points"
path = "dots"
mpp_um = 0.5
licence = "mine"
[[folds]]
name = "first"
held_out.dots = ["a"]
[[folds]]
name = "second"
held_out.dots = ["b"]
[[variants]]
name = "u_net"
[[variants]]
name = "classical"
classical = true
"""
FIELDS = ("a", "b")
SPOTS = [(12, 40), (30, 20), (50, 22), (44, 50)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "dots").mkdir()
    rows = ["image,x,y,label"]
    rng = np.random.default_rng(0)
    for name in FIELDS:
        pixels = rng.integers(150, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "dots" / f"{name}.png")
        rows += [f"{name}.png,{x},{y},{'positive' if x > y else 'negative'}" for x, y in SPOTS]
    (tmp_path / "dots" / "points.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "training.toml").write_text(TRAINING)
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    return tmp_path


def make_scores_plain(out: Path) -> None:
    """Let every fold's network find each cell with 0.6 and a false one with 0.4."""
    for path in out.glob("u_net/*/predictions.json"):
        stored = json.loads(path.read_text())
        for part in stored["sets"].values():
            for columns in part["fields"].values():
                points = [*SPOTS, (4, 4)]
                columns["x_px"] = [x + 0.5 for x, _ in points]
                columns["y_px"] = [y + 0.5 for _, y in points]
                columns["label"] = [int(x > y) for x, y in SPOTS] + [1]
                columns["score"] = [0.6] * len(SPOTS) + [0.4]
        path.write_text(json.dumps(stored))


def test_threshold_and_figures_of_the_folds_go_onto_the_card(data: Path) -> None:
    model = train(load_train_config(data / "training.toml"), data / "trained", data=data)
    experiment = load_experiment(data / "experiment.toml")
    run_experiment(experiment, data / "out", data=data)
    make_scores_plain(data / "out")
    weights = (model / "weights.safetensors").read_bytes()
    words = [str(data / "experiment.toml"), "--out", str(data / "out"), "--data", str(data)]

    done = CliRunner().invoke(
        cli, ["experiment", *words, "--table", "--variant", "u_net", "--card", str(model)]
    )

    assert done.exit_code == 0, done.output
    card = load_card(model)
    # the lowest height tried that leaves the false cells out
    assert (card.threshold, card.floor) == (0.42, 0.21)
    assert "all: threshold 0.42, candidates from 0.21" in done.output
    rows = json.loads((data / "out" / RESULTS_JSON).read_text())["rows"]
    told = card.metrics["cross_validation"]
    assert told["experiment"] == "small"
    # no path of this machine
    assert told["command"] == "ki67 experiment experiment.toml --data FIELDS --out out --table"
    assert told["rows"] == [row for row in rows if row["variant"] == "u_net"]
    assert told["rows"][0]["at_3.125_um"]["f1_all"]["mean"] == 100
    assert [(s.name, s.licence, s.use) for s in card.sources][-1] == ("dots", "mine", "threshold")
    assert (model / "weights.safetensors").read_bytes() == weights


def test_a_table_at_one_threshold_lies_beside_that_of_the_chosen_ones(data: Path) -> None:
    run_experiment(load_experiment(data / "experiment.toml"), data / "out", data=data)
    make_scores_plain(data / "out")
    words = [str(data / "experiment.toml"), "--out", str(data / "out"), "--data", str(data)]
    call = ["experiment", *words, "--table", "--variant", "u_net"]
    at_own = CliRunner().invoke(cli, call)
    chosen = (data / "out" / RESULTS_JSON).read_bytes()

    at_half = CliRunner().invoke(cli, [*call, "--threshold", "0.3"])

    assert (at_own.exit_code, at_half.exit_code) == (0, 0), at_half.output
    assert (data / "out" / RESULTS_JSON).read_bytes() == chosen
    stored = json.loads((data / "out" / "results_at_0.3.json").read_text())
    (row,) = [row for row in stored["rows"] if row["variant"] == "u_net"]
    # four cells found, and the false one: 8 / 9
    assert row["at_3.125_um"]["f1_all"]["mean"] == pytest.approx(88.8889)
    below = CliRunner().invoke(cli, [*call, "--threshold", "0.01"])
    assert below.exit_code != 0
    assert "kept candidates from 0.25 on" in below.output
    nowhere = CliRunner().invoke(cli, [*call, "--threshold", "nan"])
    assert "nan is no height of a peak" in nowhere.output
    both = CliRunner().invoke(cli, [*call, "--threshold", "0.3", "--card", str(data)])
    assert "--threshold: give it with --table and without --card" in both.output


def test_a_card_gets_no_figures_of_another_network_or_of_nothing(data: Path) -> None:
    model = train(load_train_config(data / "training.toml"), data / "trained", data=data)
    experiment = load_experiment(data / "experiment.toml")
    before = (model / "card.json").read_bytes()
    write_results(experiment, data / "out", data=data)

    with pytest.raises(ConfigError, match="no run of variant u_net is finished"):
        vouch(experiment, data / "out", "u_net", model, data=data)
    with pytest.raises(ConfigError, match="all: is not the network of variant classical"):
        vouch(experiment, data / "out", "classical", model, data=data)
    words = [str(data / "experiment.toml"), "--out", str(data / "out"), "--data", str(data)]
    unnamed = CliRunner().invoke(cli, ["experiment", *words, "--table", "--card", str(model)])
    assert unnamed.exit_code == 2
    assert "--card: name the one --variant" in unnamed.output
    assert (model / "card.json").read_bytes() == before
