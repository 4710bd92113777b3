"""The real command in a process of its own: begun, watched by its marks, stopped or killed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.processes import await_true, start

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "prediction.tile_core_px=128",
    "prediction.region_tiles=1",
    "tissue.margin_um=20",
    "score.min_cells=10",
    "inputs.settle_s=0",
    "cluster.dashboard=false",
    "cluster.workers=2",
)


def begin(
    inputs: Path,
    out: Path,
    model: str | None,
    *more: str,
    before: Sequence[str] = (),
    path: Sequence[Path] = (),
) -> subprocess.Popen[str]:
    """Start ``ki67 run`` as the leader of a process group of its own.

    Parameters
    ----------
    more
        Settings, as ``section.key=value``.
    before
        Words of a command that starts it.
    path
        Folders that Python looks into first.
    """
    pairs = (f"prediction.model='{model}'", *SETTINGS, *more)
    settings = [word for pair in pairs for word in ("--set", pair)]
    python_path = os.pathsep.join([*map(str, path), str(ROOT), *sys.path])
    return start(
        [*before, sys.executable, "-m", "pipeline", "run", str(inputs), "--out", out, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": python_path},
    )


def wait_for(run: subprocess.Popen[str], out: Path, pattern: str, *, at_least: int = 1) -> None:
    """Wait until files of the output folder match; the run must still go on then."""
    await_true(lambda: len(list(out.glob(pattern))) >= at_least, of=run, every_s=0.01)
