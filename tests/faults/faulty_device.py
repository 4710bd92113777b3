"""Loaded by a worker before its first task: torch on the CPU stands for a device that has faults.

The engine for CUDA runs as it is; only what it asks of torch is given by the CPU. A file in the
folder of ``KI67_TEST_DEVICE`` is one fault, and gone when it has happened; the file ``dead`` stays.
A fault that costs a process its device costs it for good, as with CUDA.
"""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from pipeline.model import torch_engine
from pipeline.model.engine import DType

FAULTS = Path(os.environ["KI67_TEST_DEVICE"])
ILLEGAL = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."
FULL = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of ..."
_lost = False


def _happen(name: str, error: Exception) -> None:
    try:
        (FAULTS / name).unlink()
    except FileNotFoundError:
        return
    raise error


def _used() -> None:
    global _lost
    if _lost or (FAULTS / "dead").exists():
        raise torch.AcceleratorError(ILLEGAL)
    try:
        _happen("lost", torch.AcceleratorError(ILLEGAL))
    except torch.AcceleratorError:
        _lost = True
        raise


def _pinned(*size: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
    if pin_memory:
        _happen("full", torch.OutOfMemoryError(FULL))
        _happen("lost-on-launch", RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"))
    return _empty(*size, **options)


class Event:
    def record(self, stream: object) -> None:
        """Nothing is waited for on a CPU."""

    def synchronize(self) -> None:
        _used()


def _engine(network: Any, *, threads: int, dtype: DType) -> torch_engine.TorchCudaEngine:
    torch.set_num_threads(threads)
    return torch_engine.TorchCudaEngine(network, torch.device("cpu"), dtype=dtype)


def _torch_device(name: str) -> torch.device:
    return torch.device("cpu")


if torch.empty.__name__ != _pinned.__name__:  # a file may be loaded twice
    _empty = torch.empty
    torch.empty = _pinned  # type: ignore[assignment]
    torch.cuda.Event = Event  # type: ignore[assignment, misc]
    torch.cuda.current_stream = nullcontext  # type: ignore[assignment]
    torch_engine.torch_device = _torch_device
    torch_engine.TorchCpuEngine = _engine  # type: ignore[assignment, misc]
