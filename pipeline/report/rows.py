"""A slide's numbers as rows of text for the tables of its card."""

from collections.abc import Iterable
from typing import Any

from pipeline.io.score import ScoreRecord
from pipeline.report.text import (
    NOTHING,
    count,
    duration,
    interval,
    moment,
    per_mm2,
    percent,
    probability,
    square_mm,
)

MOST_PIECES = 12


def intervals_of(record: ScoreRecord) -> tuple[tuple[str, str], ...]:
    """The wider and more honest one first."""
    known = (
        ("95 % between places (block bootstrap)", record.ki67.bootstrap95),
        ("95 % of counting alone (Wilson)", record.ki67.wilson95),
    )
    return tuple((name, interval(ends)) for name, ends in known if ends is not None)


def facts_of(record: ScoreRecord) -> tuple[tuple[str, str], ...]:
    """The numbers of a slide; what is unknown is a dash."""
    area, density, ki67 = record.area_mm2, record.density, record.ki67
    rows = [
        ("Positive cells", count(record.counts.positive)),
        ("Negative cells", count(record.counts.negative)),
        ("All cells", count(record.counts.total)),
        ("Cells per mm²", per_mm2(density.total_per_mm2)),
        ("Tissue, mm²", square_mm(area.tissue)),
        ("Excluded, mm²", square_mm(area.excluded)),
        ("Unreadable, mm²", square_mm(area.unreadable)),
        ("Analysed, mm²", square_mm(area.analysed)),
    ]
    if area.outside_roi is not None:
        rows.insert(-1, ("Outside the region of interest, mm²", square_mm(area.outside_roi)))
    fields = "" if ki67.fields is None else f" of {ki67.fields:,} fields"
    rows.append((f"Unweighted mean{fields}", percent(ki67.unweighted_field_mean_pct)))
    if ki67.calibrated is not None:
        ends = ki67.calibrated.interval95
        rows.append(
            (
                f"Calibrated ({ki67.calibrated.calibration})",
                percent(ki67.calibrated.index_pct) + (f" ({interval(ends)})" if ends else ""),
            )
        )
    if record.category is not None:
        near = ", interval holds a cut-off" if record.category.straddles_cutoff else ""
        rows.append((f"Category ({record.category.scheme})", f"{record.category.label}{near}"))
    if record.roi is not None:
        rows.append(("Region of interest", record.roi.name))
    return tuple(rows)


def details_of(record: ScoreRecord) -> tuple[tuple[str, str], ...]:
    """What made the numbers."""
    slide, made = record.slide, record.provenance
    mpp = None if slide.mpp is None else f"{slide.mpp[0]:g} × {slide.mpp[1]:g} µm"
    size = None if slide.width is None else f"{slide.width:,} × {slide.height:,} px"
    roi = None if record.roi is None else record.roi.sha256
    named: tuple[tuple[str, Any], ...] = (
        ("Slide id", slide.id),
        ("Size", size),
        ("Pixel", mpp),
        ("Pixel size from", slide.mpp_source),
        ("Reader", slide.reader),
        ("Vendor", slide.vendor),
        ("Objective", None if slide.objective is None else f"{slide.objective:g}×"),
        ("Fingerprint", slide.fingerprint),
        ("Population", (record.population or "").replace("_", " ") or None),
        ("Region of interest sha256", roi),
        ("Model", made.weights),
        ("Weights sha256", made.weights_sha256),
        ("Threshold", made.threshold),
        ("Settings sha256", made.config_sha256),
        ("Engine", " ".join(filter(None, (made.engine, made.device, made.dtype))) or None),
        ("Program", " ".join(filter(None, (made.tool, made.version))) or None),
        ("Results version", made.results_version),
        ("Started", moment(made.started)),
        ("Ended", moment(made.ended)),
        ("Took", duration(record.seconds)),
    )
    return tuple((name, NOTHING if value is None else str(value)) for name, value in named)


def hotspots_of(record: ScoreRecord) -> tuple[tuple[str, ...], ...]:
    """Hottest first."""
    return tuple(
        (
            str(spot.rank),
            percent(spot.index_pct),
            interval(spot.wilson95),
            count(spot.cells),
            percent(spot.expected_max_if_uniform_pct),
            probability(spot.p_value),
        )
        for spot in sorted(record.hotspots, key=lambda spot: spot.rank)
    )


def pieces_of(record: ScoreRecord) -> tuple[tuple[str, ...], ...]:
    """Largest first; a single piece is the slide itself."""
    if len(record.pieces) < 2:
        return ()
    largest = sorted(record.pieces, key=lambda piece: -piece.area_mm2)
    return tuple(
        (
            str(piece.id),
            square_mm(piece.area_mm2),
            count(piece.positive + piece.negative),
            percent(piece.index_pct),
        )
        for piece in largest[:MOST_PIECES]
    )


def exclusions_of(record: ScoreRecord) -> tuple[tuple[str, ...], ...]:
    """Areas that are not counted, and the cells in them, by reason."""
    if record.qc is None:
        return ()
    reasons: Iterable[str] = sorted({*record.qc.excluded_mm2, *record.qc.excluded_cells})
    return tuple(
        (
            reason.replace("_", " "),
            square_mm(record.qc.excluded_mm2.get(reason)),
            count(record.qc.excluded_cells.get(reason)),
        )
        for reason in reasons
        if record.qc.excluded_mm2.get(reason) or record.qc.excluded_cells.get(reason)
    )
