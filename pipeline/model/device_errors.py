"""What a library says of a device that is full or lost, as errors of the pipeline.

Told by names and words, so that an engine without torch needs no torch for it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import DeviceError, DeviceMemoryError

_OF_A_DEVICE = ("OutOfMemoryError", "AcceleratorError")
"""Classes of torch that speak of nothing else."""

# in capitals: "cuda:0" stands in messages about tensors that were mixed up, which is our fault
_NAMES_IT = re.compile(
    r"CUDA (?:\w+ )?(?:error|failure)|CUDA out of memory|No CUDA GPUs|NVML_|BFCArena|cuDNN error"
    r"|CU(?:DNN|BLAS|BLASLT|FFT|SPARSE)(?:_STATUS| failure)"
)
_FULL = re.compile(r"out of memory|failed to allocate|ALLOC_FAILED", re.IGNORECASE)
_HOST_FULL = re.compile(r"can't allocate memory|failed to allocate|bad_alloc", re.IGNORECASE)
_LONGEST = 200


@contextmanager
def device_errors(device: str, what: str) -> Iterator[None]:
    """Raise what the body's libraries say of the device as an error of the pipeline.

    Parameters
    ----------
    device
        As it is called in settings: ``cpu``, ``cuda`` or ``cuda:0``.
    what
        For a message, what there may be no memory for.

    Raises
    ------
    DeviceMemoryError
        It has too little memory free now.
    DeviceError
        It is lost: nothing in this process can use it again.
    MemoryError
        The computer's own memory is full.
    """
    try:
        yield
    except Exception as error:
        said = device_error(error, device, what)
        if said is None:
            raise
        raise said from error


def device_error(error: Exception, device: str, what: str) -> DeviceError | MemoryError | None:
    """Return what the error says of the device; None where it speaks of something else."""
    text = str(error).strip()
    # "DefaultCPUAllocator": a tile on its way to a device needs memory here as well
    if "DefaultCPUAllocator" in text or (device == "cpu" and _HOST_FULL.search(text)):
        return MemoryError(f"no memory for {what}")
    if type(error).__name__ not in _OF_A_DEVICE and not _NAMES_IT.search(text):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    name = device if visible is None else f"{device} (CUDA_VISIBLE_DEVICES={visible})"
    if type(error).__name__ == "OutOfMemoryError" or _FULL.search(text):
        return DeviceMemoryError(
            f"{name}: no memory for {what}; use a smaller prediction.tile_core_px or fewer "
            "workers on the device"
        )
    return DeviceError(f"{name}: {text.partition(chr(10))[0][:_LONGEST]}")


def tile_words(height: int, width: int) -> str:
    """Name a tile as what there may be no memory for."""
    return f"one tile of {width} x {height} px"
