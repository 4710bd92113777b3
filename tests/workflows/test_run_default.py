"""The commented settings file says what the code does."""

import re
from pathlib import Path

from pipeline.config import RunConfig, known_keys, load_config

PATH = Path(__file__).resolve().parents[2] / "workflows" / "configs" / "run_default.toml"
KEY = re.compile(r"^(?:# )?([a-z_0-9]+) = \S")
SECTION = re.compile(r"^\[([\w.]+)\]$")


def keys_in_order(text: str) -> list[str]:
    section, keys = "", []
    for line in text.splitlines():
        if found := SECTION.match(line):
            section = found[1]
        elif found := KEY.match(line):
            keys.append(f"{section}.{found[1]}")
    return keys


def test_the_file_loads_to_the_defaults() -> None:
    assert load_config(PATH) == RunConfig()


def test_the_file_names_every_setting_once_in_the_order_of_the_code() -> None:
    assert keys_in_order(PATH.read_text(encoding="utf-8")) == known_keys(RunConfig)


def test_every_example_behind_a_hash_is_a_legal_value(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", PATH.read_text(encoding="utf-8"))
    opened = tmp_path / "opened.toml"
    opened.write_text(text, encoding="utf-8")
    assert load_config(opened) != RunConfig()
