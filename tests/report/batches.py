"""Result folders for the report's tests: single slides of any kind, and a batch of all kinds."""

from pathlib import Path

import numpy as np

from pipeline.core.points import CellPoints
from pipeline.core.scoring import wilson95
from pipeline.io.cells import write_cells
from pipeline.io.pictures import write_thumbnail
from pipeline.io.results import (
    AreaMm2,
    Counts,
    Ki67,
    Provenance,
    ScoreRecord,
    SlideIdentity,
    Status,
    write_score,
)

CAVEAT = "nuclei resembling the tumour nuclei marked in training"


def add_slide(
    out: Path,
    slide_id: str,
    *,
    name: str = "",
    status: Status = "ok",
    reason: str | None = None,
    flags: tuple[str, ...] = (),
    positive: int = 30,
    negative: int = 70,
    weights: str = "m",
    pictures: bool = False,
) -> Path:
    """Write a slide's folder with a score in which all that may be unknown is unknown."""
    folder = out / "slides" / slide_id
    total = positive + negative
    failed = status == "failed"
    record = ScoreRecord(
        slide=SlideIdentity(
            id=slide_id, name=name or f"{slide_id}.svs", width=1000, height=800, mpp=(0.25, 0.25)
        ),
        status=status,
        reason=reason,
        flags=flags,
        caveat=CAVEAT,
        area_mm2=AreaMm2() if failed else AreaMm2(tissue=2.0, analysed=1.5),
        counts=Counts() if failed else Counts(positive=positive, negative=negative, total=total),
        ki67=Ki67()
        if failed or not total
        else Ki67(index_pct=100 * positive / total, wilson95=wilson95(positive, total)),
        provenance=Provenance(weights=weights, weights_sha256="ab" * 32, version="0.1.0"),
    )
    write_score(folder / "score.json", record)
    if not failed:
        points = CellPoints(
            np.linspace(0, 900, total),
            np.linspace(0, 700, total),
            np.ones(total, np.float32),
            (np.arange(total) < positive).astype(np.uint8),
        )
        write_cells(folder / "cells.parquet", points, {})
    if pictures:
        noise = np.random.default_rng(0).integers(0, 256, (820, 1024, 3), np.uint8)
        write_thumbnail(folder / "thumbnail.jpg", noise)
    return folder
