"""The computer's own memory runs out inside a library: said as what it is, by every engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.test_onnx_models import network

SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np

kind, path = sys.argv[1:]
if kind == "torch":
    from pipeline.model.torch_engine import load_torch_engine
    from pipeline.model.zoo import resolve_model

    engine = load_torch_engine(Path(resolve_model("default")), device="cpu", threads=1)[1]
else:
    from pipeline.model.onnx_engine import OnnxEngine

    payload = Path(path).read_bytes()
    engine = OnnxEngine(Path(path), payload, channels=2, device="cpu", threads=1)
small, large = np.zeros((64, 64, 3), np.uint8), np.zeros((4096, 2048, 3), np.uint8)
list(engine.heatmaps([small], margin=0))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (170 << 20),) * 2)
try:
    list(engine.heatmaps([large], margin=0))
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_memory_that_runs_out_within_a_library_is_no_fault_of_the_slide(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(network())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "no memory for one tile of 2048 x 4096 px\n", done.stderr
