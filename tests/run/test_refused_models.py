"""Models whose cells would depend on the tiles are refused before anything is read or written."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from tests.run.small_slides import stained_tissue, write_slide


@pytest.fixture
def relative_model(tmp_path: Path, tiny_model: Path) -> Path:
    """The tiny network with a card that reads cells by LMDS."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "relative"))
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"post": "lmds"}))
    return folder


def test_a_model_with_a_relative_threshold_is_refused_in_one_line(
    tmp_path: Path, relative_model: Path
) -> None:
    slide = write_slide(tmp_path / "a.tif", stained_tissue(7, width=300, height=200))
    words = ["run", str(slide), "--out", str(tmp_path / "out"), "--model", str(relative_model)]

    result = CliRunner().invoke(cli, words)

    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "post=lmds puts its threshold at a share of each picture's highest value" in line
    assert "use a model with post ccls or lmss" in line
    assert not (tmp_path / "out" / "slides").exists()
