"""The settings that the guide to annotations shows are valid, and every form has its row."""

import re
import tomllib
from pathlib import Path
from textwrap import dedent
from typing import get_args

from pipeline.cli.evaluate import KINDS
from pipeline.config import validated
from pipeline.train.config import Kind, SourceConfig, TrainConfig
from pipeline.train.loaders import LOADERS

GUIDE = (Path(__file__).parents[2] / "docs" / "annotations.md").read_text(encoding="utf-8")


def test_the_settings_in_the_guide_are_valid() -> None:
    whole, part = re.findall(r"(?ms)^ *```toml\n(.*?)^ *```", GUIDE)
    config = validated(TrainConfig, tomllib.loads(dedent(whole)))
    (source,) = tomllib.loads(part)["training"]

    assert {source.kind for source in config.held_out} == {"qupath"}
    assert validated(SourceConfig, source).recolour == 5


def test_every_kind_has_a_loader_a_row_and_a_choice_on_the_command_line() -> None:
    rows = set(re.findall(r"(?m)^\| `(\w+)` \|", GUIDE)) - {"kind"}

    assert set(get_args(Kind)) == LOADERS.keys() == rows == {*KINDS, "synthetic"}
