"""Output folders of any number of made-up slides: every status, flag and key, pictures and all.

The numbers belong together (counts, index, intervals, areas), the pictures are of synthetic tissue
and shared by many slides as hard links, so that two thousand slides take seconds and little room.
"""

import math
from pathlib import Path

import numpy as np

from benchmarks.synthetic_look import MPP_UM, SIDE_UM, Look, make_look
from pipeline.core.scoring import wilson95
from pipeline.io.results import (
    AreaMm2,
    Category,
    Counts,
    Density,
    Hotspot,
    Ki67,
    Piece,
    Provenance,
    ScoreRecord,
    SlideIdentity,
    Status,
    write_done,
    write_score,
)
from pipeline.io.score import QualityUse

LOOKS = 4
"""Different slides that are drawn; the others share their files."""

CAVEAT = "counts nuclei that resemble the tumour nuclei marked in training"


def make_batch(
    out: Path, slides: int, *, seed: int = 0, category: bool = False, looks: int = LOOKS
) -> None:
    """Write the result folders of ``slides`` made-up slides below ``out / "slides"``.

    Parameters
    ----------
    out
        A folder that does not exist or is empty.
    slides
        How many.
    seed
        Of the numbers; the first slides of two batches of one seed are alike.
    category
        Give each index a word of a scheme with cut-offs at 5 and 30 %.
    looks
        How many different slides are drawn.
    """
    drawn = [make_look(out / ".looks" / str(number), number) for number in range(looks)]
    rng = np.random.default_rng(seed)
    for number in range(slides):
        look = drawn[number % looks]
        slide_id = f"case-{number + 1:04d}-{seed:04x}{number:04x}"
        record = _record(slide_id, number, look, rng, category=category)
        folder = out / "slides" / slide_id
        if record.counts.total is not None:
            _link_tree(look.folder, folder)
        write_score(folder / "score.json", record)
        write_done(folder, {"number": str(number)})


def _record(
    slide_id: str, number: int, look: Look, rng: np.random.Generator, *, category: bool
) -> ScoreRecord:
    status = _status(number, rng)
    flags = tuple(
        name
        for name, share in (("blurred", 0.6), ("pen", 0.4), ("classical_disagreement", 0.3))
        if status == "ok_with_flags" and rng.random() < share
    ) or (("fold",) if status == "ok_with_flags" else ())
    identity = SlideIdentity(
        id=slide_id,
        name=f"case-{number + 1:04d}.svs",
        fingerprint=f"sampled-sha256:{number:064x}",
        reader="openslide",
        vendor="aperio",
        width=round(SIDE_UM / MPP_UM),
        height=round(SIDE_UM / MPP_UM),
        bounds=(0, 0, round(SIDE_UM / MPP_UM), round(SIDE_UM / MPP_UM)),
        mpp=(MPP_UM, MPP_UM),
        mpp_source="vendor",
        objective=40.0,
    )
    made = Provenance(
        tool="ki67-pipeline",
        version="0.1.0",
        results_version=1,
        weights="synthetic-batch",
        weights_sha256="5a" * 32,
        config_sha256="c0" * 32,
        threshold=0.1,
        engine="torch",
        device="cpu",
        dtype="float32",
        started="2026-01-01T20:00:00.000+00:00",
        ended=f"2026-01-01T20:0{number % 10}:30.000+00:00",
    )
    if status == "failed":
        reason = f"{identity.name}: no micrometres per pixel in its metadata; pass --assume-mpp"
        return ScoreRecord(
            slide=identity, status=status, reason=reason, caveat=CAVEAT, provenance=made
        )
    total = _total(status, rng)
    index = float(np.clip(rng.lognormal(math.log(14), 0.8), 0.3, 92))
    positive = round(total * index / 100)
    analysed = look.tissue_mm2 - 0.4 if total else 0.0
    why = {
        "too_few_cells": f"{total} cells in {analysed:.2f} mm2; 500 are needed",
        "no_tissue": "no tissue was found on the slide",
    }.get(status)
    wider = 1.8 * 98 * math.sqrt(max(index, 1) * (100 - index) / 1e4 / max(total, 1)) * 8
    return ScoreRecord(
        slide=identity,
        status=status,
        reason=why or (", ".join(flags) or None),
        flags=flags,
        population="model_targets",
        caveat=CAVEAT,
        area_mm2=AreaMm2(
            tissue=look.tissue_mm2 if total else 0.0,
            excluded=0.3 if total else 0.0,
            unreadable=0.1 if total else 0.0,
            analysed=analysed,
        ),
        counts=Counts(positive=positive, negative=total - positive, total=total),
        ki67=_ki67(positive, total, wider),
        density=Density(
            positive_per_mm2=positive / analysed if analysed else None,
            total_per_mm2=total / analysed if analysed else None,
        ),
        hotspots=_hotspots(look, index, rng) if status in {"ok", "ok_with_flags"} else (),
        pieces=_pieces(look, positive, total),
        category=_category(index) if category and total >= 500 else None,
        qc=QualityUse(excluded_mm2={"out_of_focus": 0.2, "pen": 0.1}, excluded_cells={"pen": 12}),
        provenance=made,
    )


def _status(number: int, rng: np.random.Generator) -> Status:
    """Mostly good; the sixth slide and a few others are not."""
    fixed: dict[int, Status] = {
        3: "ok_with_flags",
        5: "failed",
        7: "too_few_cells",
        11: "no_tissue",
    }
    draw = rng.random()
    if number < 12:
        return fixed.get(number, "ok")
    names: tuple[Status, ...] = ("failed", "no_tissue", "too_few_cells", "ok_with_flags")
    limits = (0.02, 0.03, 0.08, 0.24)
    return next((name for name, limit in zip(names, limits, strict=True) if draw < limit), "ok")


def _total(status: Status, rng: np.random.Generator) -> int:
    if status == "no_tissue":
        return 0
    if status == "too_few_cells":
        return int(rng.integers(60, 480))
    return int(rng.lognormal(math.log(90_000), 0.7))


def _ki67(positive: int, total: int, wider: float) -> Ki67:
    if not total:
        return Ki67()
    index = 100 * positive / total
    return Ki67(
        index_pct=index,
        wilson95=wilson95(positive, total),
        bootstrap95=(max(0.0, index - wider), min(100.0, index + wider)) if total >= 500 else None,
        unweighted_field_mean_pct=index * 0.97 if total >= 500 else None,
        fields=84 if total >= 500 else None,
    )


def _hotspots(look: Look, index: float, rng: np.random.Generator) -> tuple[Hotspot, ...]:
    spots = []
    for rank in (1, 2, 3):
        row = int(rng.integers(len(look.cells)))
        share = min(96.0, index * (1.9 - 0.15 * rank))
        positive = round(5.2 * share)
        spots.append(
            Hotspot(
                rank=rank,
                x_l0=look.cells.x_l0[row],
                y_l0=look.cells.y_l0[row],
                radius_um=260.0,
                cells=520,
                positive=positive,
                index_pct=100 * positive / 520,
                wilson95=wilson95(positive, 520),
                expected_max_if_uniform_pct=min(97.0, index * 1.3 + 2),
                p_value=0.01 * rank,
            )
        )
    return tuple(spots)


def _pieces(look: Look, positive: int, total: int) -> tuple[Piece, ...]:
    if not total:
        return ()
    shares = ((1, 0.7), (2, 0.25), (3, 0.05))
    return tuple(
        Piece(
            id=number,
            area_mm2=look.tissue_mm2 * share,
            positive=round(positive * share),
            negative=round((total - positive) * share),
            index_pct=100 * positive / total,
        )
        for number, share in shares
    )


def _category(index: float) -> Category:
    label = "low" if index <= 5 else "high" if index >= 30 else "intermediate"
    near = min(abs(index - 5), abs(index - 30)) < 1
    return Category(scheme="ikwg_5_30", label=label, cutoffs=(5.0, 30.0), straddles_cutoff=near)


def _link_tree(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(path)
