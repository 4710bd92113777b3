"""Torch as an engine: a folded network on the CPU or on a CUDA device."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import MissingDeviceError
from pipeline.model.card import ModelCard
from pipeline.model.checkpoint import load_checkpoint
from pipeline.model.device_errors import device_errors, tile_words
from pipeline.model.engine import DType, Engine, Heatmap, Pixels
from pipeline.model.fold import fold_network
from pipeline.model.registry import HeatmapNetwork

AHEAD = 1
"""Tiles that a device has begun when the one before is taken."""

_REDUCED = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def load_torch_engine(
    folder: Path, *, device: str, threads: int, dtype: DType = "float32"
) -> tuple[ModelCard, Engine]:
    """Read a checkpoint and make it ready to run on a device.

    Raises
    ------
    ModelError
        It cannot be used, or there is no such device.
    DeviceError
        The device is lost or full.
    """
    place = torch_device(device)
    network, card = load_checkpoint(folder)
    network = fold_network(network, in_place=True)
    if place.type == "cuda":
        return card, TorchCudaEngine(network, place, dtype=dtype)
    return card, TorchCpuEngine(network, threads=threads, dtype=dtype)


def torch_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises
    ------
    MissingDeviceError
        There is no such device.
    """
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise MissingDeviceError(f"device={name!r}: torch sees no CUDA device; use device=cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise MissingDeviceError(f"device={name!r}: there are {count} CUDA devices")
    return device


class TorchCpuEngine:
    """A folded network, tiles one by one; torch's threads are set for the whole process.

    With a reduced ``dtype`` convolutions but the last run under autocast, see ``fold_network``.
    """

    def __init__(self, network: HeatmapNetwork, *, threads: int, dtype: DType = "float32") -> None:
        self._network, self._dtype = network, dtype
        torch.set_num_threads(threads)

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int) -> Iterator[Heatmap]:
        """See :class:`pipeline.model.engine.Engine`."""
        for tile in tiles:
            # torch takes neither read-only nor reversed arrays
            pixels = torch.from_numpy(np.array(tile, order="C"))[None]
            with (
                device_errors("cpu", tile_words(*tile.shape[:2])),
                torch.inference_mode(),
                _precision("cpu", self._dtype),
            ):
                # NHWC in memory, NCHW in shape: the layout the folded network works in
                heatmap: Tensor = self._network(pixels.permute(0, 3, 1, 2))
            yield np.asarray(_cropped(heatmap[0], margin).numpy())


class TorchCudaEngine:
    """A folded network, tiles one by one, the next one started before the last is taken.

    Tiles of this size fill a device, and batches would have to be filled up to one size each: a
    region has few tiles of many shapes. Kernels are deterministic and TF32 is off, so that a tile's
    heatmap depends on its pixels alone. With a reduced ``dtype`` convolutions but the last run
    under autocast, see ``fold_network``.

    Work on a device fails later than it is sent: what the device says of itself is looked for both
    as a tile is sent and as its heatmap lands.
    """

    def __init__(self, network: HeatmapNetwork, device: torch.device, *, dtype: DType) -> None:
        self._device, self._dtype = device, dtype
        with device_errors(str(device), "the network"):
            self._network = network.to(device)

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int) -> Iterator[Heatmap]:
        """See :class:`pipeline.model.engine.Engine`."""
        flying: deque[tuple[Tensor, torch.cuda.Event]] = deque()
        for tile in tiles:
            flying.append(self._started(tile, margin))
            if len(flying) > AHEAD:
                yield self._landed(*flying.popleft())
        while flying:
            yield self._landed(*flying.popleft())

    def _started(self, tile: Pixels, margin: int) -> tuple[Tensor, torch.cuda.Event]:
        """Queue copy, network and copy back; nothing waits for the device."""
        with device_errors(str(self._device), tile_words(*tile.shape[:2])):
            # torch keeps pinned memory from tile to tile; copies from it run beside the network
            staged = torch.empty(tile.shape, dtype=torch.uint8, pin_memory=True)
            staged.numpy()[:] = tile
            with torch.inference_mode(), self._kernels(), _precision("cuda", self._dtype):
                pixels = staged.to(self._device, non_blocking=True)[None].permute(0, 3, 1, 2)
                heatmap = _cropped(self._network(pixels)[0], margin).contiguous()
                back = torch.empty(heatmap.shape, dtype=torch.float32, pin_memory=True)
                back.copy_(heatmap, non_blocking=True)
            ended = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ended.record(torch.cuda.current_stream(self._device))
        return back, ended

    def _landed(self, heatmap: Tensor, ended: torch.cuda.Event) -> Heatmap:
        with device_errors(str(self._device), "a heatmap"):
            ended.synchronize()
        return np.asarray(heatmap.numpy())

    def _kernels(self) -> AbstractContextManager[object]:
        flags: AbstractContextManager[object] = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return flags


def _precision(device: str, dtype: DType) -> AbstractContextManager[object]:
    return nullcontext() if dtype == "float32" else torch.autocast(device, _REDUCED[dtype])


def _cropped(heatmaps: Tensor, margin: int) -> Tensor:
    height, width = heatmaps.shape[-2:]
    return heatmaps[..., margin : height - margin, margin : width - margin]
