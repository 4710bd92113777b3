"""Write a synthetic slide to a file, strip by strip, in one process or in several."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.points import CellPoints
from pipeline.errors import ConfigError
from pipeline.io.pyramid import STRIP_PX, write_pyramid
from pipeline.io.synthetic.artefacts import write_artefacts
from pipeline.io.synthetic.scene import TUMOUR, Nuclei
from pipeline.io.synthetic.slide import SyntheticSlide
from pipeline.io.synthetic.truth import SlideTruth, true_points, write_truth

Strip = tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8], int]
"""Pixels, x and y in level-0 px, label, and the number of nuclei that are not in the truth."""

OnRows = Callable[[int], None]


def write_synthetic_slide(
    path: Path,
    slide: SyntheticSlide,
    *,
    workers: int = 1,
    quality: int = 85,
    on_rows: OnRows | None = None,
) -> SlideTruth:
    """Write the slide and its truth (NAME.truth.parquet, .geojson, .json) beside it.

    Planted artefacts are outlined in NAME.artefacts.geojson.

    The bytes do not depend on `workers`. Memory is a few strips of 512 rows, plus the cells.

    Parameters
    ----------
    path : Path
        Slide to write, `.tif` or `.svs`.
    slide : SyntheticSlide
        What to write.
    workers : int
        Processes that render; 1 renders in this one.
    quality : int
        JPEG quality, 1..100.
    on_rows : callable, optional
        Called with the number of rows finished since the last call.

    Raises
    ------
    ConfigError
        Fewer than one worker, or an impossible quality.
    OutputError
        The folder cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers: give at least 1")
    columns: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]] = []
    unmarked = 0
    with ExitStack() as closing:
        strips = _strips(slide, workers, closing)

        def read_rows(_: int, count: int) -> NDArray[np.uint8]:
            nonlocal unmarked
            pixels, x_l0, y_l0, label, others = next(strips)
            columns.append((x_l0, y_l0, label))
            unmarked += others
            if on_rows is not None:
                on_rows(count)
            return pixels

        write_pyramid(
            path,
            slide.width,
            slide.height,
            slide.mpp_um,
            read_rows,
            quality=quality,
            fill=slide.glass,
        )
    if slide.artefacts:
        name = path.with_suffix("").name
        write_artefacts(
            path.parent / f"{name}.artefacts.geojson", slide.artefacts, mpp_um=slide.mpp_um
        )
    return write_truth(path, _joined(columns), {**_facts(slide), "unmarked_nuclei": unmarked})


def _joined(
    columns: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]],
) -> CellPoints:
    x_l0, y_l0, label = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return true_points(x_l0, y_l0, label)


def _strips(slide: SyntheticSlide, workers: int, closing: ExitStack) -> Iterator[Strip]:
    """All strips from top to bottom; with several workers a few are rendered ahead."""
    tops = range(0, slide.height, STRIP_PX)
    if workers == 1:
        return (_strip(slide, top) for top in tops)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    closing.callback(pool.shutdown, wait=True, cancel_futures=True)
    return _ahead(pool, slide, tops, workers + 1)


def _ahead(
    pool: ProcessPoolExecutor, slide: SyntheticSlide, tops: range, depth: int
) -> Iterator[Strip]:
    waiting: deque[Future[Strip]] = deque()
    for top in tops:
        waiting.append(pool.submit(_strip, slide, top))
        if len(waiting) >= depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _strip(slide: SyntheticSlide, top: int) -> Strip:
    pixels, nuclei = slide.rows(top, min(STRIP_PX, slide.height - top))
    cells = nuclei.take(nuclei.kind == TUMOUR)
    x_l0, y_l0 = cells.x_um / slide.mpp_um, cells.y_um / slide.mpp_um
    return pixels, x_l0, y_l0, _labels(cells), nuclei.x_um.size - cells.x_um.size


def _labels(cells: Nuclei) -> NDArray[np.uint8]:
    return cells.positive.astype(np.uint8)


def _facts(slide: SyntheticSlide) -> dict[str, object]:
    """What the slide was made from, for the record beside it."""
    return {
        "kind": "synthetic",
        "seed": slide.seed,
        "width": slide.width,
        "height": slide.height,
        "mpp_um": slide.mpp_um,
        "coverage": slide.coverage,
        "pieces": slide.pieces,
        "positive_share": slide.positive_share,
        "ranges": asdict(slide.ranges),
        "style": asdict(slide.scene.style),
        **({"artefacts": [asdict(one) for one in slide.artefacts]} if slide.artefacts else {}),
    }
