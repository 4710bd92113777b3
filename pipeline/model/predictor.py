"""Prediction: tiles in, heatmaps out, the same bits whatever was asked for together."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.model.card import load_card
from pipeline.model.checkpoint import load_checkpoint
from pipeline.model.fold import fold_network

ENGINES = ("torch",)
CUDA_BATCH = 16

KEPT = 2
"""Networks a process keeps: a run needs one, a comparison of many must not hold them all."""

_cache: OrderedDict["PredictorSpec", "Predictor"] = OrderedDict()
_cache_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class PredictorSpec:
    """What fixes a heatmap's bits besides the pixels; small, hashable, travels with a task."""

    model_folder: str
    weights_sha256: str
    device: str = "cpu"
    engine: str = "torch"
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse an engine, device or thread count that cannot be."""
        if self.engine not in ENGINES:
            raise ModelError(f"engine={self.engine!r} is unknown; known: {', '.join(ENGINES)}")
        if self.threads < 1:
            raise ModelError(f"threads={self.threads}; use at least 1")
        kind, _, index = self.device.partition(":")
        if kind not in {"cpu", "cuda"} or (index and not index.isdigit()):
            raise ModelError(f"device={self.device!r} is unknown; use cpu, cuda or cuda:0")


def predictor_spec(folder: Path, *, device: str = "cpu", threads: int = 1) -> PredictorSpec:
    """Return the specification that runs the model in ``folder`` as it is now."""
    digest = load_card(folder).weights_sha256
    if not digest:
        raise ModelError(f"{folder}: the card has no weights_sha256; save the checkpoint again")
    return PredictorSpec(str(folder), digest, device=device, threads=threads)


def get_predictor(spec: PredictorSpec) -> "Predictor":
    """Return this process's predictor for ``spec``, loading it the first time."""
    with _cache_lock:
        if spec not in _cache:
            _cache[spec] = Predictor(spec)
        _cache.move_to_end(spec)
        while len(_cache) > KEPT:
            _cache.popitem(last=False)
        return _cache[spec]


class Predictor:
    """A loaded, folded network on one device.

    On the CPU tiles are predicted one by one; on CUDA in batches of one fixed size, the last one
    filled up, without TF32 and with deterministic kernels. So a tile's heatmap does not depend on
    which other tiles came with it.

    Raises
    ------
    ModelError
        If the checkpoint cannot be used, has changed since ``spec`` was made, or there is no such
        device.
    """

    def __init__(self, spec: PredictorSpec) -> None:
        self.spec = spec
        self.device = _device(spec.device)
        network, self.card = load_checkpoint(Path(spec.model_folder))
        if self.card.weights_sha256 != spec.weights_sha256:
            raise ModelError(
                f"{spec.model_folder}: the weights are {self.card.weights_sha256[:12]}, "
                f"{spec.weights_sha256[:12]} were asked for; the model changed during the run"
            )
        self._network = fold_network(network).to(self.device)
        self._batch = 1 if self.device.type == "cpu" else CUDA_BATCH
        if self.device.type == "cpu":
            torch.set_num_threads(spec.threads)

    def predict(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict the heatmaps of tiles.

        Parameters
        ----------
        tiles
            ``(N, H, W, 3)`` RGB at the card's mpp; H and W multiples of 32.

        Returns
        -------
        NDArray[np.float32]
            ``(N, channels, H, W)``, channel order of the card.

        Raises
        ------
        ModelError
            If the tiles have another shape or type, the output is not finite, or a single tile
            does not fit into the device's memory.
        """
        if tiles.ndim != 4 or tiles.shape[3] != 3 or tiles.dtype != np.uint8:
            raise ModelError(f"tiles are {tiles.dtype} {tiles.shape}; give uint8 (N, H, W, 3)")
        count, height, width, _ = tiles.shape
        heatmaps = np.empty((count, len(self.card.channels), height, width), dtype=np.float32)
        start = 0
        while start < count:
            stop = min(start + self._batch, count)
            done = self._predict_or_shrink(tiles[start:stop])
            if done is None:
                continue
            heatmaps[start:stop] = done
            start = stop
        if not np.isfinite(heatmaps).all():
            raise ModelError(f"{self.card.name}: the heatmap has values that are not finite")
        return heatmaps

    def _predict_or_shrink(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Predict one batch; out of memory, halve the batch for good and return None."""
        try:
            return self._predict_batch(tiles)
        except torch.cuda.OutOfMemoryError as error:
            if self._batch == 1:
                side = f"{tiles.shape[2]} x {tiles.shape[1]} px"
                raise ModelError(
                    f"{self.spec.device}: no memory for one tile of {side}; use smaller tiles"
                ) from error
        self._batch //= 2
        torch.cuda.empty_cache()
        return None

    def _predict_batch(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        # a fresh array: torch takes neither read-only nor reversed ones
        filled = np.zeros((self._batch, *tiles.shape[1:]), dtype=np.uint8)
        filled[: len(tiles)] = tiles
        pixels = torch.from_numpy(filled).to(self.device)
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
        ):
            # NHWC in memory, NCHW in shape: the layout the folded network works in
            heatmap: Tensor = self._network(pixels.permute(0, 3, 1, 2))
            return np.asarray(heatmap[: len(tiles)].float().cpu().numpy(), dtype=np.float32)


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ModelError(f"device={name!r}: torch sees no CUDA device; use device=cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ModelError(f"device={name!r}: there are {torch.cuda.device_count()} CUDA devices")
    return device
