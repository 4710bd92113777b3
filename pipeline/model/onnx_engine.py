"""ONNX files: what one must be like, and ONNX Runtime as the engine that runs it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import MissingDeviceError, ModelError
from pipeline.model.device_errors import device_error, tile_words
from pipeline.model.engine import Heatmap, Pixels

_SIDES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


class OnnxEngine:
    """An ONNX network: RGB pixels in, a heatmap of the same height and width out.

    Its one input is ``(N, 3, H, W)``, float32 or uint8, RGB in 0 to 255: normalisation is part of
    the network. Its one output is ``(N, channels, H, W)`` float32. All axes but that of the colours
    are best left free: what a slide is cut into has many sizes.

    Raises
    ------
    ModelError
        ONNX Runtime is not installed or has no such device, or the file is no network of that kind.
    DeviceError
        The device is lost or full.
    """

    def __init__(
        self, path: Path, payload: bytes, *, channels: int, device: str, threads: int
    ) -> None:
        self._path, self._device = path, device
        self._session = _session(path, payload, device, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"{path}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is taken"
            )
        taken, given = inputs[0], outputs[0]
        if taken.type not in _SIDES:
            raise ModelError(f"{path}: its input is {taken.type}; float32 and uint8 are taken")
        if len(taken.shape) != 4 or not _agrees(taken.shape[1], 3):
            raise ModelError(f"{path}: its input is {_shape(taken)}; it must take (N, 3, H, W) RGB")
        if len(given.shape) != 4 or not _agrees(given.shape[1], channels):
            raise ModelError(
                f"{path}: its output is {_shape(given)}; the card's {channels} channels need "
                f"(N, {channels}, H, W)"
            )
        self._name, self._dtype = taken.name, _SIDES[taken.type]
        self._shape, self._channels = taken.shape, channels

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int) -> Iterator[Heatmap]:
        """See :class:`pipeline.model.engine.Engine`."""
        for tile in tiles:
            height, width, _ = tile.shape
            self._refuse_other_side(height, width)
            pixels = np.empty((1, 3, height, width), self._dtype)
            for channel in range(3):  # one after another: six times as fast as a transposed copy
                pixels[0, channel] = tile[:, :, channel]
            heatmap = np.asarray(self._run(pixels))
            if heatmap.shape != (1, self._channels, height, width):
                raise ModelError(
                    f"{self._path}: a tile of {width} x {height} px gave {heatmap.shape}; "
                    f"the output must be (1, {self._channels}, {height}, {width})"
                )
            part = heatmap[0, :, margin : height - margin, margin : width - margin]
            yield np.asarray(part, np.float32)

    def _run(self, pixels: np.ndarray[Any, Any]) -> Any:
        try:
            return self._session.run(None, {self._name: pixels})[0]
        except Exception as error:  # the library's own classes stand in no public module
            if said := device_error(error, self._device, tile_words(*pixels.shape[2:])):
                raise said from error
            raise ModelError(f"{self._path}: ONNX Runtime: {_first_line(error)}") from error

    def _refuse_other_side(self, height: int, width: int) -> None:
        wanted = self._shape[2:]
        if not all(map(_agrees, (*wanted, self._shape[0]), (height, width, 1))):
            raise ModelError(
                f"{self._path}: takes {_sides(self._shape)} only, and tiles of {width} x {height} "
                "px, among others, are sent one at a time; export it with free axes"
            )


def _session(path: Path, payload: bytes, device: str, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"{path}: ONNX Runtime is not installed; pip install 'ki67-pipeline[onnxruntime]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # idle threads sleep: workers share the cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise MissingDeviceError(
            f"device={device!r}: this ONNX Runtime has no CUDA; install onnxruntime-gpu in its "
            "place, or use device=cpu"
        )
    try:
        # without its fallback: a result says which device made it
        session = onnxruntime.InferenceSession(
            payload, options, providers=[provider], enable_fallback=0
        )
    except Exception as error:  # see OnnxEngine._run
        if said := device_error(error, device, "the network"):
            raise said from error
        raise ModelError(f"{path}: no ONNX network: {_first_line(error)}") from error
    if session.get_providers()[0] != provider:
        raise MissingDeviceError(
            f"device={device!r}: ONNX Runtime cannot use CUDA here (driver, CUDA or cuDNN are "
            "missing or do not fit); see `ki67 doctor`, or use device=cpu"
        )
    return session


def _agrees(stated: object, wanted: int) -> bool:
    """A free axis is a name or None."""
    return not isinstance(stated, int) or stated == wanted


def _shape(value: Any) -> str:
    return f"({', '.join(str(side) for side in value.shape)})"


def _sides(shape: list[object]) -> str:
    return " x ".join(str(side) for side in shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
