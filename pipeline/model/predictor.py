"""Prediction: tiles in, heatmaps out, the same bits whatever was asked for together."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.soundness import all_finite
from pipeline.errors import ModelError
from pipeline.model.card import ModelCard, load_card
from pipeline.model.engine import DTYPES, ENGINES, DType, Engine, Heatmap, Pixels
from pipeline.model.files import NETWORK_NAME
from pipeline.model.onnx_engine import OnnxEngine
from pipeline.model.signed import read_signed
from pipeline.model.spec import TOTAL_STRIDE

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
    engine: str = "auto"
    threads: int = 1
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        """Refuse an engine, device or thread count that cannot be."""
        if self.engine not in ("auto", *ENGINES):
            raise ModelError(f"engine={self.engine!r} is unknown; known: {', '.join(ENGINES)}")
        if self.threads < 1:
            raise ModelError(f"threads={self.threads}; use at least 1")
        if self.dtype not in DTYPES:
            raise ModelError(f"dtype={self.dtype!r} is unknown; known: {', '.join(DTYPES)}")
        if self.dtype == "float16" and self.device == "cpu":
            raise ModelError("dtype=float16 is for device=cuda; on a cpu use float32 or bfloat16")
        kind, _, index = self.device.partition(":")
        if kind not in {"cpu", "cuda"} or (index and not index.isdigit()):
            raise ModelError(f"device={self.device!r} is unknown; use cpu, cuda or cuda:0")


def predictor_spec(
    folder: Path, *, device: str = "cpu", threads: int = 1, engine: str = "auto"
) -> PredictorSpec:
    """Return the specification that runs the model in ``folder`` as it is now."""
    digest = load_card(folder).weights_sha256
    if not digest:
        raise ModelError(f"{folder}: the card has no weights_sha256; save the checkpoint again")
    return PredictorSpec(str(folder), digest, device=device, threads=threads, engine=engine)


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
    """A loaded network on one device: its card, and the engine that runs it.

    Raises
    ------
    ModelError
        If the model cannot be used, has changed since ``spec`` was made, or there is no such
        device.
    DeviceError
        If the device is lost or full.
    """

    def __init__(self, spec: PredictorSpec) -> None:
        self.spec = spec
        self.card, self._engine = _loaded(spec)
        if self.card.weights_sha256 != spec.weights_sha256:
            raise ModelError(
                f"{spec.model_folder}: the weights are {self.card.weights_sha256[:12]}, "
                f"{spec.weights_sha256[:12]} were asked for; the model changed during the run"
            )

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int = 0) -> Iterator[Heatmap]:
        """Predict tiles one after another.

        Parameters
        ----------
        tiles
            Each ``(H, W, 3)`` uint8 RGB at the card's mpp; H and W multiples of 32.
        margin
            Pixels of the heatmap that are left out on every side.

        Yields
        ------
        ``(channels, H - 2 margin, W - 2 margin)`` float32, channel order of the card; holds until
        the next one is asked for.

        Raises
        ------
        ModelError
            If a tile has another shape or type, or the output is not finite.
        DeviceError
            If the device is lost, or has no memory for a single tile.
        """
        for heatmap in self._engine.heatmaps(map(_checked, tiles), margin=margin):
            if not all_finite(heatmap):
                raise ModelError(f"{self.card.name}: the heatmap has values that are not finite")
            yield heatmap

    def predict(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict the heatmaps of tiles ``(N, H, W, 3)``: ``(N, channels, H, W)`` float32.

        Raises
        ------
        ModelError, DeviceError
            See :meth:`heatmaps`.
        """
        if tiles.ndim != 4:
            raise ModelError(f"tiles are {tiles.dtype} {tiles.shape}; give uint8 (N, H, W, 3)")
        made = np.empty((len(tiles), len(self.card.channels), *tiles.shape[1:3]), np.float32)
        for place, heatmap in zip(made, self.heatmaps(tiles), strict=True):
            place[:] = heatmap
        return made


def _loaded(spec: PredictorSpec) -> tuple[ModelCard, Engine]:
    folder = Path(spec.model_folder)
    card = load_card(folder)
    if card.engine(spec.engine) == "torch":
        # here: torch takes seconds and 200 MB, which other engines do without
        from pipeline.model.torch_engine import load_torch_engine

        return load_torch_engine(folder, device=spec.device, threads=spec.threads, dtype=spec.dtype)
    if spec.dtype != "float32":
        raise ModelError(f"{folder}: an ONNX network has its own types; use dtype=float32")
    engine = OnnxEngine(
        folder / NETWORK_NAME,
        read_signed(folder, card),
        channels=len(card.channels),
        device=spec.device,
        threads=spec.threads,
    )
    return card, engine


def _checked(tile: Pixels) -> Pixels:
    if tile.ndim != 3 or tile.shape[2] != 3 or tile.dtype != np.uint8:
        raise ModelError(f"a tile is {tile.dtype} {tile.shape}; give uint8 (H, W, 3)")
    height, width, _ = tile.shape
    if height % TOTAL_STRIDE or width % TOTAL_STRIDE or not height or not width:
        raise ModelError(
            f"a tile is {width} x {height} px; make both sides multiples of {TOTAL_STRIDE}"
        )
    return tile
