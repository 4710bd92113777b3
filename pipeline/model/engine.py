"""What runs a network: one interface, one module for each library behind it."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError

EngineName = Literal["torch", "onnxruntime"]
DType = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[DType, ...] = get_args(DType)
"""Of convolutions on a device: heatmaps and peaks are float32 either way."""

ENGINES: tuple[EngineName, ...] = get_args(EngineName)

Pixels = NDArray[np.uint8]
Heatmap = NDArray[np.float32]


class Engine(Protocol):
    """A network that is ready to run on one device."""

    def heatmaps(self, tiles: Iterable[Pixels], *, margin: int) -> Iterator[Heatmap]:
        """Predict tiles one after another, ahead of whoever takes them where that is faster.

        The bits of a tile's heatmap depend on its pixels alone.

        Parameters
        ----------
        tiles
            Each ``(H, W, 3)`` uint8 RGB; all of one shape.
        margin
            Pixels of the heatmap that are left out on every side.

        Yields
        ------
        ``(C, H - 2 margin, W - 2 margin)`` float32, in the order of the tiles; may be a view that
        holds until the next one is asked for.
        """


def require_engine(engine: EngineName) -> None:
    """Refuse an engine whose library is not installed, before anything is started.

    Raises
    ------
    ModelError
        It is missing; the message says what installs it.
    """
    if find_spec(engine) is None:
        raise ModelError(f"engine={engine} is not installed; pip install 'ki67-pipeline[{engine}]'")
