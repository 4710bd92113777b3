"""The commands ``train`` and ``evaluate`` say what is wrong in one line and write what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.cli import cli
from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.train.config import load_train_config
from pipeline.train.datasets import load_fields

TINY = """
architecture = "m_hrnet_tiny"
crop_px = 64
batch = 2
steps = 6
validate_every = 6
post.threshold = 0.3
card = { name = "tiny", population = "dots", caveat = "a test", licence = "none", halo_px = 32 }
[[training]]
name = "dots"
kind = "points"
path = "fields"
mpp_um = 0.5
"""
SHIPPED = Path(__file__).parents[2] / "workflows" / "configs" / "train_default.toml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def write_field(folder: Path) -> None:
    folder.mkdir()
    Image.fromarray(np.full((64, 64, 3), 235, np.uint8)).save(folder / "a.png")
    (folder / "points.csv").write_text("image,x,y,label\na.png,20,20,positive\n")


def test_the_shipped_settings_are_valid_and_keep_held_out_fields_apart() -> None:
    config = load_train_config(SHIPPED)

    assert load_config() is not None
    assert config.sources("training")
    assert config.sources("held_out")
    assert config.card.name.startswith(config.architecture)


def test_no_real_field_is_in_two_roles(ki67_data: Path) -> None:
    config = load_train_config(SHIPPED)
    names = []
    for role in ("training", "validation", "held_out"):
        for source in config.sources(role):
            if source.kind != "synthetic":
                names += [(source.name, f.name) for f in load_fields(source, data=ki67_data)]

    assert len(names) == len(set(names))


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(SHIPPED.read_text().replace("warmup_steps", "warmup_step"))

    with pytest.raises(ConfigError, match="warmup_step; did you mean warmup_steps"):
        load_train_config(path)
    result = run("train", str(path))
    assert result.exit_code == 2
    assert result.output.count("\n") == 1


def test_a_settings_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = run("train", str(tmp_path / "none.toml"))

    assert result.exit_code == 2
    assert "none.toml: cannot be read as TOML" in result.output


def test_the_classical_detector_is_scored_and_both_files_are_written(tmp_path: Path) -> None:
    write_field(tmp_path / "fields")

    result = run(
        *("evaluate", "--model", "classical", "--fields", str(tmp_path / "fields")),
        *("--mpp", "0.5", "--out", str(tmp_path / "out")),
    )

    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert scores["fields"]["at_3.125_um"]["cells"]["true_positive"] == 1
    assert "within 1.5625 um" in (tmp_path / "out" / "evaluation.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --fields or --config"),
        (("--fields", "x"), "--mpp is needed"),
        (("--fields", "/nowhere", "--mpp", "0.5"), "there is no folder /nowhere"),
        (("--fields", "x", "--mpp", "25"), "mpp_um: Input should be less than or equal to 5"),
        (
            ("--config", "x", "--mpp", "0.5", "--label", "a=cell"),
            "--label, --mpp: go with --fields",
        ),
        (
            ("--fields", "x", "--mpp", "0.5", "--predictions", "p.json", "--post", "lmds"),
            "--post: the cells are taken from --predictions",
        ),
        (("--fields", "x", "--mpp", "0.5", "--threshold", "nan"), "nan is no height of a peak"),
        (("--fields", "x", "--mpp", "0.5", "--threshold", "-1"), "-1 is no height of a peak"),
    ],
)
def test_wrong_arguments_of_evaluate_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run("evaluate", *arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_a_training_that_stops_before_its_first_validation_says_so(tmp_path: Path) -> None:
    write_field(tmp_path / "fields")
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ("train", str(tmp_path / "tiny.toml"), "--data", str(tmp_path))

    result = run(*words, "--out", str(tmp_path / "out"), "--stop-after", "1", "--resume")

    assert result.exit_code == 0, result.output
    assert "out: no training to resume; it begins anew" in result.output
    assert "no model yet: the first validation is at step 6" in result.output
