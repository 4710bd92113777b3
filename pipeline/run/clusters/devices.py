"""Which CUDA devices this machine has, asked without making a context in this process."""

import os
import re
import subprocess
import sys

from pipeline.errors import ConfigError

VISIBLE = "CUDA_VISIBLE_DEVICES"

_ASK_S = 60
_UUID = re.compile(r"UUID: ((?:GPU|MIG)-[\w/-]+)")
# a context takes some hundred MB of the device and must not be forked: a child looks
_COUNT = "import torch; print(torch.cuda.device_count())"


def find_devices() -> list[str]:
    """Names of the devices as CUDA_VISIBLE_DEVICES takes them: numbers or UUIDs.

    Raises
    ------
    ConfigError
        There is none.
    """
    visible = os.environ.get(VISIBLE)
    found = _listed() or _counted() if visible is None else visible_devices(visible)
    if not found:
        cause = "found none" if visible is None else f"{VISIBLE}={visible!r} hides them all"
        raise ConfigError(f"prediction.device=cuda: {cause}; use prediction.device=cpu")
    return found


def visible_devices(text: str) -> list[str]:
    """Devices that a value of CUDA_VISIBLE_DEVICES lets through; CUDA stops at the first -1."""
    found: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if not name or name.startswith("-"):
            break
        found.append(name)
    return found


def listed_devices(listing: str) -> list[str]:
    """UUIDs in what ``nvidia-smi -L`` prints; the parts of a divided device stand for it."""
    found: list[str] = []
    for uuid in _UUID.findall(listing):
        if uuid.startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()  # the whole of the device that the parts below belong to
        found.append(uuid)
    return found


def _listed() -> list[str]:
    return listed_devices(_output("nvidia-smi", "-L"))


def _counted() -> list[str]:
    count = _output(sys.executable, "-c", _COUNT).strip()
    return [str(number) for number in range(int(count))] if count.isdigit() else []


def _output(*command: str) -> str:
    try:
        ended = subprocess.run(  # noqa: S603 (no shell, our own words)
            command, capture_output=True, text=True, timeout=_ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout if ended.returncode == 0 else ""
