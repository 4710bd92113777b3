"""The figures of a slide's cells beyond their counts: index, intervals, hotspots, category."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CategorySettings, RunConfig
from pipeline.core import hotspots
from pipeline.core.bootstrap import block_bootstrap95
from pipeline.core.category import OWN, SCHEMES, Scheme, categorise, own_scheme
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.core.scoring import labelling_index_pct, unweighted_field_mean, wilson95
from pipeline.io.calibration import StoredCalibration, read_calibration
from pipeline.io.score import Calibrated, Category, Hotspot, Ki67


def labelling(cells: CellPoints, mpp: tuple[float, float], config: RunConfig) -> Ki67:
    """Compute the index with its intervals, and the mean of fields.

    Parameters
    ----------
    cells
        Those counted, level-0 pixels.
    mpp
        (x, y) micrometres per level-0 pixel.
    """
    settings = config.score
    x_um, y_um, positive = _columns(cells, mpp)
    fields = unweighted_field_mean(
        x_um,
        y_um,
        positive,
        field_um=settings.field_um,
        min_cells=settings.field_min_cells,
    )
    return Ki67(
        index_pct=labelling_index_pct(cells.positive, len(cells)),
        wilson95=wilson95(cells.positive, len(cells)),
        bootstrap95=block_bootstrap95(
            x_um,
            y_um,
            positive,
            block_um=settings.bootstrap_block_um,
            replicates=settings.bootstrap_replicates,
            seed=settings.seed,
        ),
        unweighted_field_mean_pct=fields.mean_pct,
        fields=fields.fields,
    )


def stored_calibration(
    config: RunConfig, *, weights_sha256: str, threshold: float
) -> StoredCalibration | None:
    """Read the calibration that the settings name; None where they name none.

    Raises
    ------
    ConfigError
        It cannot be read, or was made for other weights or another threshold.
    """
    path = config.score.calibration
    if not path:
        return None
    return read_calibration(Path(path), weights_sha256=weights_sha256, threshold=threshold)


def calibrated(
    cells: CellPoints, ki67: Ki67, calibration: StoredCalibration | None
) -> Calibrated | None:
    """Correct the index, beside the counted one, which stays."""
    index_pct = labelling_index_pct(cells.positive, len(cells))
    interval = ki67.bootstrap95 or ki67.wilson95
    if calibration is None or index_pct is None or interval is None:
        return None
    # rounded ends, or those of resamples, may leave the index a hair outside
    low, high = min(interval[0], index_pct), max(interval[1], index_pct)
    corrected_pct, ends = calibration.apply(index_pct, (low, high))
    return Calibrated(
        index_pct=corrected_pct,
        interval95=ends,
        calibration=calibration.name,
        sha256=calibration.sha256,
        extrapolated=calibration.is_outside(index_pct),
    )


def hottest(cells: CellPoints, mpp: tuple[float, float], config: RunConfig) -> tuple[Hotspot, ...]:
    """Find the places of highest labelling, in level-0 pixels; none where none is asked for."""
    settings = config.hotspots
    if not settings.count:
        return ()
    found = hotspots.find_hotspots(
        *_columns(cells, mpp),
        count=settings.count,
        min_cells=settings.min_cells,
        permutations=settings.permutations,
        max_radius_um=settings.max_radius_um,
        seed=config.score.seed,
    )
    return tuple(
        Hotspot(
            rank=spot.rank,
            x_l0=spot.x_um / mpp[0],
            y_l0=spot.y_um / mpp[1],
            radius_um=spot.radius_um,
            cells=spot.cells,
            positive=spot.positive,
            index_pct=spot.index_pct,
            wilson95=spot.wilson95,
            expected_max_if_uniform_pct=spot.expected_max_if_uniform_pct,
            p_value=spot.p_value,
        )
        for spot in found
    )


def category(cells: CellPoints, ki67: Ki67, settings: CategorySettings) -> Category | None:
    """Name the index where a scheme is configured; the index is compared unrounded."""
    if settings.scheme == "none":
        return None
    scheme = _scheme(settings)
    index_pct = labelling_index_pct(cells.positive, len(cells))
    found = categorise(index_pct, ki67.bootstrap95 or ki67.wilson95, scheme)
    if found is None:
        return None
    return Category(
        scheme=scheme.name,
        label=found.label,
        cutoffs=scheme.cutoffs,
        straddles_cutoff=found.straddles_cutoff,
    )


def _scheme(settings: CategorySettings) -> Scheme:
    if settings.scheme == OWN:
        return own_scheme(settings.cutoffs, settings.labels)
    return SCHEMES[settings.scheme]


def _columns(
    cells: CellPoints, mpp: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    return cells.x_l0 * mpp[0], cells.y_l0 * mpp[1], cells.label == POSITIVE
