"""The result files of one slide that follow from its score: cells, areas, density, overlay."""

from pathlib import Path

import numpy as np

from pipeline.core.qc.judge import judge
from pipeline.io.cells import Exclusions, write_cells
from pipeline.io.cells_text import write_cells_geojson
from pipeline.io.crops import CROPS_NAME, choose_crops, write_crops
from pipeline.io.density import write_density
from pipeline.io.open_slides import opened
from pipeline.io.plane import SlidePlane
from pipeline.io.quality import QUALITY_NAME, write_quality
from pipeline.io.results import SCORE_NAME, write_score
from pipeline.io.score import ScoreRecord
from pipeline.run.basis import CANDIDATES_NAME, CELLS_NAME, SlideBasis
from pipeline.run.drawn_areas import draw_areas
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.picture import draw_overlay, draw_quality
from pipeline.run.places import place_of
from pipeline.run.scoring import ScoredWith, score_cells
from pipeline.run.selection import SlideCells, select_cells


def score_basis(
    job: SlideJob, basis: SlideBasis, folder: Path, scored: ScoredWith
) -> tuple[ScoreRecord, SlideCells]:
    """Score a slide and write every file that follows from the score into ``folder``.

    The same basis and settings give the same bytes, in a run and in a later scoring. Only crops
    are not written here: they need the slide's pixels.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    points = basis.settled.points
    threshold = CellRule.of(job.config, basis.card).threshold
    above = points.take(points.score >= np.float32(threshold))
    quality = judge(basis.measured, above, job.config.qc)
    found = select_cells(
        basis.settled,
        basis.plan,
        basis.tissue,
        threshold=threshold,
        excluded=quality.reasons,
        roi=scored.roi,
    )
    score = score_cells(job, basis, found, quality, scored)
    write_quality(folder / QUALITY_NAME, basis.measured, quality, unreadable=found.areas.unreadable)
    _write_files(job, basis, folder, found, score, scored)
    draw_quality(folder, basis.plan, basis.tissue, quality)
    write_score(folder / SCORE_NAME, score)
    return score, found


def _write_files(
    job: SlideJob,
    basis: SlideBasis,
    folder: Path,
    found: SlideCells,
    score: ScoreRecord,
    scored: ScoredWith,
) -> None:
    card, plan = basis.card, basis.plan
    x_l0, y_l0, _, _ = plan.slide.bounds
    metadata = _metadata(job, basis, score)
    write_cells(folder / CELLS_NAME, found.cells, metadata)
    why = Exclusions(found.reason, found.reasons)
    write_cells(folder / CANDIDATES_NAME, found.candidates, metadata, excluded=why)
    write_cells_geojson(
        folder,
        found.cells,
        offset_x_l0=x_l0,
        offset_y_l0=y_l0,
        radius_px=card.nms_radius_um / plan.slide.mpp[0],
    )
    draw_areas(folder, job.slide_id, basis, found, score, scored.roi, metadata)
    write_density(
        folder / "density",
        found.cells,
        frame=plan.frame,
        mpp_um=card.mpp_um,
        ome_zarr=job.config.heatmap.ome_zarr,
    )
    draw_overlay(folder, plan, basis.tissue, found.cells)


def crop_slide(job: SlideJob, basis: SlideBasis, found: SlideCells, score: ScoreRecord) -> None:
    """Write a few places at the network's resolution; one that is damaged is left out."""
    # the slide's own content chooses the random ones: every run shows the same
    seed = int(basis.plan.slide.fingerprint[-8:], 16)
    hotspots = [(spot.x_l0, spot.y_l0) for spot in score.hotspots]
    chosen = choose_crops(found.cells, basis.plan.frame, seed=seed, hotspots_l0=hotspots)
    if not chosen:
        return
    with opened(place_of(job), basis.plan.slide.reader) as reader:
        write_crops(
            job.folder / CROPS_NAME,
            SlidePlane(reader, basis.plan.frame).read,
            chosen,
            frame=basis.plan.frame,
            points=found.cells,
            mpp_um=basis.card.mpp_um,
        )


def _metadata(job: SlideJob, basis: SlideBasis, score: ScoreRecord) -> dict[str, str]:
    """What each table says of itself; nothing that differs between two runs."""
    slide = basis.plan.slide
    return {
        "slide_id": job.slide_id,
        "slide_fingerprint": slide.fingerprint,
        "mpp": " ".join(str(value) for value in slide.mpp),
        "mpp_source": slide.mpp_source,
        "weights": basis.card.name,
        "weights_sha256": basis.weights_sha256,
        "threshold": str(CellRule.of(job.config, basis.card).threshold),
        "floor": str(basis.plan.floor),
        "population": score.population or "",
        "caveat": score.caveat or "",
        "roi_sha256": "" if score.roi is None else score.roi.sha256,
        "units": "level-0 pixels, pixel centres at +0.5",
    }
