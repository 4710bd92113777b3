"""The score record of a slide from its cells and its areas: one function for run and score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.coverage import pieces_of_points
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.core.qc.judge import Quality
from pipeline.core.scoring import labelling_index_pct, score_status
from pipeline.core.tissue import pieces, pixels_of_pieces
from pipeline.errors import UnreadableSlideError
from pipeline.io.roi import Roi
from pipeline.io.score import AreaMm2, Counts, Density, Piece, QualityUse, RoiUse, ScoreRecord
from pipeline.run.basis import SlideBasis
from pipeline.run.failure import provenance
from pipeline.run.figures import calibrated, category, hottest, labelling, stored_calibration
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.selection import SlideCells

UNREADABLE_FLAG = "unreadable_tiles"
NO_ROI_FLAG = "no_region_of_interest"


@dataclass(frozen=True, slots=True, eq=False)
class ScoredWith:
    """What besides the cells goes into a slide's score."""

    started: str
    ended: str
    """UTC times of the run that predicted the slide; scoring again keeps them."""
    roi: Roi | None = None
    roi_missing: bool = False
    """Regions of interest were asked for, and the slide has none."""


def score_cells(
    job: SlideJob, basis: SlideBasis, found: SlideCells, quality: Quality, scored: ScoredWith
) -> ScoreRecord:
    """Count, divide, and say of what.

    The index is that of all cells. Areas are those of the tissue mask, by pixel centres: cells in
    its margin, which belong to tissue at the mask's edge, are counted, the margin's area is not.
    """
    cells, plan, card = found.cells, basis.plan, basis.card
    areas = _areas(basis, found)
    analysed_mm2 = areas.analysed or 0.0
    flags = (*_flags(basis, scored), *quality.flags)
    status, reason = score_status(
        len(cells), analysed_mm2, plan.tissue_mm2, flags, job.config.score.min_cells
    )
    named = scored.roi is not None and scored.roi.names_cells
    ki67 = labelling(cells, plan.slide.mpp, job.config)
    threshold = CellRule.of(job.config, card).threshold
    calibration = stored_calibration(
        job.config, weights_sha256=basis.weights_sha256, threshold=threshold
    )
    return ScoreRecord(
        slide=plan.slide.identity(job.slide_id).model_copy(update={"group": job.group}),
        status=status,
        reason=reason,
        flags=flags,
        population="roi" if named else "model_targets",
        caveat=card.caveat,
        area_mm2=areas,
        counts=Counts(positive=cells.positive, negative=cells.negative, total=len(cells)),
        ki67=ki67.model_copy(update={"calibrated": calibrated(cells, ki67, calibration)}),
        density=Density(
            positive_per_mm2=cells.positive / analysed_mm2 if analysed_mm2 else None,
            total_per_mm2=len(cells) / analysed_mm2 if analysed_mm2 else None,
        ),
        hotspots=hottest(cells, plan.slide.mpp, job.config),
        pieces=_pieces(cells, basis, found, job.config.tissue.margin_um),
        # too few cells give no category, however sure their index looks
        category=None if status == "too_few_cells" else category(cells, ki67, job.config.category),
        roi=_roi_use(scored.roi),
        qc=_quality(basis, found, quality, threshold),
        provenance=provenance(job, card, started=scored.started, ended=scored.ended),
    )


def check_unreadable(job: SlideJob, basis: SlideBasis) -> None:
    """Refuse a slide of which too much is damaged.

    Raises
    ------
    UnreadableSlideError
        More of its tissue than ``slides.max_unreadable_pct`` could not be read.
    """
    refuse_damage(job, len(basis.settled.unreadable), basis.plan.squares)


def refuse_damage(job: SlideJob, unreadable: int, squares: int) -> None:
    """Refuse a slide by the number of its tissue's squares and of those that cannot be read.

    Raises
    ------
    UnreadableSlideError
        See :func:`check_unreadable`.
    """
    most_pct = job.config.slides.max_unreadable_pct
    if squares and 100 * unreadable / squares > most_pct:
        raise UnreadableSlideError(
            f"{job.name}: {unreadable} of {squares} squares of tissue cannot be read, more than "
            f"slides.max_unreadable_pct={most_pct:g}; copy the slide again or raise the limit"
        )


def mask_mm2(mask: NDArray[np.bool_], basis: SlideBasis) -> float:
    """Area of pixels of the tissue mask."""
    return float(np.count_nonzero(mask)) * basis.plan.tissue_um_per_px**2 / 1e6


def _flags(basis: SlideBasis, scored: ScoredWith) -> tuple[str, ...]:
    named = ((UNREADABLE_FLAG, bool(basis.settled.unreadable)), (NO_ROI_FLAG, scored.roi_missing))
    return tuple(name for name, holds in named if holds)


def _areas(basis: SlideBasis, found: SlideCells) -> AreaMm2:
    """The parts of the tissue add up to it."""
    areas, outside = found.areas, found.areas.outside_roi
    parts = (areas.analysed, areas.unreadable, *(() if outside is None else (outside,)))
    whole = basis.tissue.mask.copy()
    for part in parts:
        whole &= ~part
    return AreaMm2(
        tissue=basis.plan.tissue_mm2,
        excluded=mask_mm2(whole, basis),
        unreadable=mask_mm2(areas.unreadable, basis),
        analysed=mask_mm2(areas.analysed, basis),
        outside_roi=None if outside is None else mask_mm2(outside, basis),
    )


def _roi_use(roi: Roi | None) -> RoiUse | None:
    if roi is None:
        return None
    return RoiUse(
        name=roi.name,
        sha256=roi.sha256,
        include_classes=roi.include_classes,
        exclude_classes=roi.exclude_classes,
        unused_classes=roi.unused_classes,
        repaired=roi.repaired,
    )


def _quality(
    basis: SlideBasis, found: SlideCells, quality: Quality, threshold: float
) -> QualityUse | None:
    if not quality.measures:
        return None
    would_count = found.candidates.score >= np.float32(threshold)
    counts = np.bincount(found.reason[would_count], minlength=len(found.reasons)).tolist()
    by_reason = dict(zip(found.reasons, counts, strict=True))
    return QualityUse(
        excluded_mm2={name: mask_mm2(mask, basis) for name, mask in found.areas.excluded.items()},
        excluded_cells={name: by_reason.get(name, 0) for name in found.areas.excluded},
        measures=dict(quality.measures),
    )


def _pieces(
    cells: CellPoints, basis: SlideBasis, found: SlideCells, margin_um: float
) -> tuple[Piece, ...]:
    """One row per connected piece: an on-slide control shows as its own."""
    plan = basis.plan
    labels, number = pieces(basis.tissue.mask)
    analysed = pixels_of_pieces(labels, number, found.areas.analysed)
    margin_px = margin_um / plan.tissue_um_per_px
    owner = pieces_of_points(cells.x_l0, cells.y_l0, labels, plan.overview, margin_px=margin_px)
    total = np.bincount(owner, minlength=number + 1).tolist()
    positive = np.bincount(owner[cells.label == POSITIVE], minlength=number + 1).tolist()
    return tuple(
        Piece(
            id=piece,
            area_mm2=float(analysed[piece]) * plan.tissue_um_per_px**2 / 1e6,
            positive=positive[piece],
            negative=total[piece] - positive[piece],
            index_pct=labelling_index_pct(positive[piece], total[piece]),
        )
        for piece in range(1, number + 1)
    )
