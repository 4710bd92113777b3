"""The score record of a slide from its cells and its tissue."""

import numpy as np

from pipeline.core.coverage import pieces_of_points
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.core.scoring import labelling_index_pct, score_status, wilson95
from pipeline.core.tissue import pieces
from pipeline.io.score import AreaMm2, Counts, Density, Ki67, Piece, ScoreRecord
from pipeline.model.card import ModelCard
from pipeline.run.failure import provenance
from pipeline.run.job import SlideJob
from pipeline.run.plan import Plan, Tissue
from pipeline.run.settle import SlideCells

UNREADABLE_FLAG = "unreadable_tiles"


def score_slide(
    job: SlideJob, card: ModelCard, plan: Plan, tissue: Tissue, found: SlideCells
) -> ScoreRecord:
    """Count, divide, and say of what.

    The index is that of all cells. Areas are those of the tissue mask: cells in its margin, which
    belong to tissue at the mask's edge, are counted, the margin's area is not.
    """
    cells = found.cells
    pixel_mm2 = plan.tissue_um_per_px**2 / 1e6
    analysed_mm2 = float(np.count_nonzero(found.analysed)) * pixel_mm2
    flags = (UNREADABLE_FLAG,) if found.unreadable else ()
    status, reason = score_status(
        len(cells), analysed_mm2, plan.tissue_mm2, flags, job.config.score.min_cells
    )
    return ScoreRecord(
        slide=plan.slide.identity(job.slide_id),
        status=status,
        reason=reason,
        flags=flags,
        population="model_targets",
        caveat=card.caveat,
        area_mm2=AreaMm2(
            tissue=plan.tissue_mm2,
            excluded=0.0,
            unreadable=plan.tissue_mm2 - analysed_mm2,
            analysed=analysed_mm2,
        ),
        counts=Counts(positive=cells.positive, negative=cells.negative, total=len(cells)),
        ki67=Ki67(
            index_pct=labelling_index_pct(cells.positive, len(cells)),
            wilson95=wilson95(cells.positive, len(cells)),
        ),
        density=Density(
            positive_per_mm2=cells.positive / analysed_mm2 if analysed_mm2 else None,
            total_per_mm2=len(cells) / analysed_mm2 if analysed_mm2 else None,
        ),
        pieces=_pieces(cells, plan, tissue, job.config.tissue.margin_um),
        provenance=provenance(job, card, started=plan.started),
    )


def _pieces(cells: CellPoints, plan: Plan, tissue: Tissue, margin_um: float) -> tuple[Piece, ...]:
    """One row per connected piece: an on-slide control shows as its own."""
    labels, number = pieces(tissue.mask)
    areas = np.bincount(labels.ravel(), minlength=number + 1) * plan.tissue_um_per_px**2 / 1e6
    margin_px = margin_um / plan.tissue_um_per_px
    owner = pieces_of_points(cells.x_l0, cells.y_l0, labels, plan.overview, margin_px=margin_px)
    total = np.bincount(owner, minlength=number + 1).tolist()
    positive = np.bincount(owner[cells.label == POSITIVE], minlength=number + 1).tolist()
    return tuple(
        Piece(
            id=piece,
            area_mm2=float(areas[piece]),
            positive=positive[piece],
            negative=total[piece] - positive[piece],
            index_pct=labelling_index_pct(positive[piece], total[piece]),
        )
        for piece in range(1, number + 1)
    )
