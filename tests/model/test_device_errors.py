"""What CUDA libraries say of a device is told from what they say of a network or a tile."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import DeviceError, DeviceMemoryError, MissingDeviceError, ModelError
from pipeline.model.device_errors import device_error, device_errors
from pipeline.model.onnx_engine import OnnxEngine
from pipeline.model.torch_engine import torch_device
from tests.model.test_onnx_models import network

LOST = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore"),
    torch.AcceleratorError("something torch will say one day"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA driver error: unknown error"),
    RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    RuntimeError("No CUDA GPUs are available"),
    Exception("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access; GPU=0"),
    Exception("[ONNXRuntimeError] : 1 : FAIL : CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED"),
]
FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    Exception("[ONNXRuntimeError] : 6 : CUDA failure 2: out of memory ; GPU=0"),
    Exception("onnxruntime::BFCArena::AllocateRawInternal Failed to allocate memory for buffer"),
]
OTHER = [
    RuntimeError("Expected all tensors to be on the same device, cuda:0 and cpu"),
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    ValueError("out of memory"),
    Exception("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x"),
]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_a_lost_device_is_told_in_its_own_words(error: Exception) -> None:
    with pytest.raises(DeviceError) as caught, device_errors("cuda:1", "a tile"):
        raise error
    assert not isinstance(caught.value, DeviceMemoryError)
    assert str(caught.value).startswith("cuda:1")
    assert str(caught.value).endswith(str(error).partition("\n")[0])


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_full_device_is_told_with_the_remedy(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-five")
    wanted = (
        r"^cuda \(CUDA_VISIBLE_DEVICES=GPU-five\): no memory for a tile; "
        r"use a smaller prediction\.tile_core_px or fewer workers on the device$"
    )
    with pytest.raises(DeviceMemoryError, match=wanted), device_errors("cuda", "a tile"):
        raise error


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_what_speaks_of_no_device_is_left_as_it_is(error: Exception) -> None:
    assert device_error(error, "cuda", "a tile") is None
    with pytest.raises(type(error)) as caught, device_errors("cuda", "a tile"):
        raise error
    assert caught.value is error


class Session:
    """In the place of ONNX Runtime's own, which needs a device to fail like this."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("device", "error", "kind"),
    [
        ("cuda", LOST[-2], DeviceError),
        ("cuda", FULL[-2], DeviceMemoryError),
        ("cuda", OTHER[-1], ModelError),
        ("cpu", FULL[-1], MemoryError),
        ("cpu", OTHER[-1], ModelError),
    ],
)
def test_onnx_runtime_speaks_of_its_device_on_one_only(
    tmp_path: Any, device: str, error: Exception, kind: type[Exception]
) -> None:
    engine = OnnxEngine(tmp_path / "n.onnx", network(), channels=2, device="cpu", threads=1)
    engine._session, engine._device = Session(error), device
    with pytest.raises(kind) as caught:
        next(engine.heatmaps([np.zeros((64, 32, 3), np.uint8)], margin=0))
    assert type(caught.value) is kind
    if kind is DeviceMemoryError:
        assert "one tile of 32 x 64 px" in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_here_may_be_elsewhere(tmp_path: Any) -> None:
    with pytest.raises(MissingDeviceError):
        torch_device("cuda")
    with pytest.raises(MissingDeviceError, match="no CUDA"):
        OnnxEngine(tmp_path / "n.onnx", network(), channels=2, device="cuda", threads=1)
