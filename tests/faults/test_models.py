"""Weights that were tampered with."""

import shutil
from pathlib import Path

from tests.faults.ki67 import begin
from tests.processes import ended


def test_tampered_weights_are_refused_in_a_line_and_no_slide_is_blamed(
    tmp_path: Path, slides: Path, tiny_model: Path
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = bytearray((model / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "weights.safetensors").write_bytes(weights)
    code, errors = ended(begin(slides, tmp_path / "out", str(model)))
    assert code == 2, errors
    [line] = errors.splitlines()
    assert line.startswith("ki67: error: ")
    assert "weights.safetensors" in line
    assert not list(tmp_path.glob("out/slides/*"))
