"""Torch as an engine: a folded network on the CPU or on a CUDA device."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.model.card import ModelCard
from pipeline.model.checkpoint import load_checkpoint
from pipeline.model.engine import DType, Engine, Heatmap, Pixels
from pipeline.model.fold import fold_network
from pipeline.model.registry import HeatmapNetwork

CUDA_BATCH_PX = 16 << 20
"""Pixels of one batch on a device: enough to fill it, a few GiB of activations."""

_REDUCED = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def load_torch_engine(
    folder: Path, *, device: str, threads: int, dtype: DType = "float32"
) -> tuple[ModelCard, Engine]:
    """Read a checkpoint and make it ready to run on a device.

    Raises
    ------
    ModelError
        It cannot be used, or there is no such device.
    """
    place = torch_device(device)
    network, card = load_checkpoint(folder)
    if place.type == "cuda":
        return card, TorchCudaEngine(network, place, dtype=dtype)
    return card, TorchCpuEngine(network, threads=threads)


def torch_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises
    ------
    ModelError
        There is no such device.
    """
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ModelError(f"device={name!r}: torch sees no CUDA device; use device=cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ModelError(f"device={name!r}: there are {torch.cuda.device_count()} CUDA devices")
    return device


class TorchCpuEngine:
    """Tiles one by one, in float32; torch's threads are set for the whole process."""

    def __init__(self, network: HeatmapNetwork, *, threads: int) -> None:
        self._network = fold_network(network)
        torch.set_num_threads(threads)

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int) -> Iterator[Heatmap]:
        """See :class:`pipeline.model.engine.Engine`."""
        for tile in tiles:
            # torch takes neither read-only nor reversed arrays
            pixels = torch.from_numpy(np.array(tile, order="C"))[None]
            with torch.inference_mode():
                # NHWC in memory, NCHW in shape: the layout the folded network works in
                heatmap: Tensor = self._network(pixels.permute(0, 3, 1, 2))
            yield np.asarray(_cropped(heatmap[0], margin).numpy())


class TorchCudaEngine:
    """Batches of one size for each shape of tile, one batch in flight while one is taken.

    The last batch is filled up, kernels are deterministic and TF32 is off, so that a tile's heatmap
    does not depend on which others came with it. With a reduced ``dtype`` convolutions run under
    autocast; what they give is read as float32.
    """

    def __init__(self, network: HeatmapNetwork, device: torch.device, *, dtype: DType) -> None:
        self._network = fold_network(network).to(device)
        self._device, self._dtype = device, dtype
        self._batch_px = CUDA_BATCH_PX

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int) -> Iterator[Heatmap]:
        """See :class:`pipeline.model.engine.Engine`."""
        flying: deque[tuple[Tensor, torch.cuda.Event]] = deque()
        for batch in self._batches(tiles):
            flying.append(self._launch(batch, margin))
            if len(flying) > 1:
                yield from _landed(*flying.popleft())
        while flying:
            yield from _landed(*flying.popleft())

    def _batches(self, tiles: Iterable[Pixels]) -> Iterator[list[Pixels]]:
        """Successive tiles of one shape, as many as a batch of that shape holds."""
        batch: list[Pixels] = []
        for tile in tiles:
            if batch and (tile.shape != batch[0].shape or len(batch) == self._size(tile)):
                yield batch
                batch = []
            batch.append(tile)
        if batch:
            yield batch

    def _size(self, tile: Pixels) -> int:
        height, width, _ = tile.shape
        return max(1, self._batch_px // int(height * width))

    def _launch(self, batch: list[Pixels], margin: int) -> tuple[Tensor, torch.cuda.Event]:
        """Start one batch; out of memory, with smaller batches for good."""
        try:
            return self._start(batch, margin)
        except torch.cuda.OutOfMemoryError as error:
            height, width, _ = batch[0].shape
            if self._size(batch[0]) == 1:
                raise ModelError(
                    f"{self._device}: no memory for one tile of {width} x {height} px; "
                    "use smaller tiles"
                ) from error
        # outside the except block, whose traceback keeps the failed tensors alive
        self._batch_px = self._size(batch[0]) * batch[0].shape[0] * batch[0].shape[1] // 2
        torch.cuda.empty_cache()
        step = self._size(batch[0])
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        ended = [self._start(part, margin) for part in parts]
        return torch.cat([heatmaps for heatmaps, _ in ended]), ended[-1][1]

    def _start(self, batch: list[Pixels], margin: int) -> tuple[Tensor, torch.cuda.Event]:
        size, shape = self._size(batch[0]), batch[0].shape
        staged = torch.zeros((size, *shape), dtype=torch.uint8, pin_memory=True)
        for place, tile in zip(staged.numpy(), batch, strict=False):
            place[:] = tile
        with torch.inference_mode(), self._kernels(), self._precision():
            pixels = staged.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            heatmaps = _cropped(self._network(pixels)[: len(batch)], margin).float()
            back = torch.empty(heatmaps.shape, dtype=torch.float32, pin_memory=True)
            back.copy_(heatmaps, non_blocking=True)
        ended = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ended.record(torch.cuda.current_stream(self._device))
        return back, ended

    def _kernels(self) -> AbstractContextManager[object]:
        flags: AbstractContextManager[object] = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return flags

    def _precision(self) -> AbstractContextManager[object]:
        if self._dtype == "float32":
            return nullcontext()
        return torch.autocast("cuda", _REDUCED[self._dtype])


def _cropped(heatmaps: Tensor, margin: int) -> Tensor:
    height, width = heatmaps.shape[-2:]
    return heatmaps[..., margin : height - margin, margin : width - margin]


def _landed(heatmaps: Tensor, ended: torch.cuda.Event) -> Iterator[Heatmap]:
    ended.synchronize()
    yield from heatmaps.numpy()
