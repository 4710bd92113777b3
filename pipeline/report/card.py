"""One slide of the report: its numbers as text and its pictures as embedded JPEGs."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.io.pictures import embedded_jpeg
from pipeline.io.score import Piece, ScoreRecord
from pipeline.report.words import STATUS_WORDS, Wording, flag_words

NOTHING = "–"
LINKED_FILES = (
    "score.json",
    "cells.parquet",
    "candidates.parquet",
    "areas.geojson",
    "overlay.jpg",
    "thumbnail.jpg",
    "heatmap.ome.zarr",
    "density",
)


@dataclass(frozen=True, slots=True)
class PictureBudget:
    """How large embedded pictures may be; the more slides, the smaller.

    Attributes
    ----------
    overlay_px, crop_px
        Longer side; 0 embeds none.
    overlay_bytes, crop_bytes
        Of each JPEG, before base64 adds a third.
    """

    overlay_px: int
    overlay_bytes: int
    crop_px: int
    crop_bytes: int

    @classmethod
    def for_slides(cls, count: int) -> "PictureBudget":
        """Choose so that a card stays below 300 kB and a report below about 50 MB."""
        if count <= 200:
            return cls(760, 115_000, 260, 15_500)
        if count <= 1000:
            return cls(320, 25_000, 0, 0)
        return cls(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Card:
    """Everything the template shows of one slide; all text is escaped there."""

    record: ScoreRecord
    wording: Wording
    index: str
    interval: str
    remark: str
    rows: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]
    picture: str
    crops: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    missing_outputs: bool


def make_card(out: Path, record: ScoreRecord, budget: PictureBudget) -> Card:
    """Gather a slide's texts, pictures and links from its folder."""
    folder = out / "slides" / record.slide.id
    return Card(
        record=record,
        wording=STATUS_WORDS[record.status],
        index=percent(record.ki67.index_pct),
        interval=interval(record.ki67.wilson95),
        remark=_remark(record),
        rows=_rows(record),
        details=_details(record),
        flags=tuple(flag_words(flag) for flag in record.flags),
        pieces=_pieces(record.pieces),
        picture=_picture(folder, budget),
        crops=_crops(folder, budget),
        links=tuple(
            (name, f"slides/{record.slide.id}/{name}")
            for name in (*LINKED_FILES, *_cell_files(folder))
            if (folder / name).exists()
        ),
        missing_outputs=record.counts.total is not None and not (folder / "cells.parquet").exists(),
    )


def _remark(record: ScoreRecord) -> str:
    """The reason without what stands beside it anyway: the slide's name, the flags."""
    reason = (record.reason or "").removeprefix(f"{record.slide.name}: ")
    if reason in {"", ", ".join(record.flags)}:
        return ", ".join(flag.replace("_", " ") for flag in record.flags)
    return reason


def percent(value: float | None) -> str:
    """One decimal, or a dash."""
    return NOTHING if value is None else f"{value:.1f} %"


def interval(ends: tuple[float, float] | None) -> str:
    """Both ends with one decimal, or a dash."""
    return NOTHING if ends is None else f"{ends[0]:.1f} – {ends[1]:.1f} %"


def count(value: int | None) -> str:
    """Thousands apart, or a dash."""
    return NOTHING if value is None else f"{value:,}"


def square_mm(value: float | None) -> str:
    """Three digits that count, or a dash."""
    if value is None:
        return NOTHING
    return f"{value:.1f} mm²" if value >= 100 else f"{value:.2f} mm²"


def _rows(record: ScoreRecord) -> tuple[tuple[str, str], ...]:
    area, density = record.area_mm2, record.density
    rows = [
        ("Positive cells", count(record.counts.positive)),
        ("Negative cells", count(record.counts.negative)),
        ("All cells", count(record.counts.total)),
        ("Tissue", square_mm(area.tissue)),
        ("Analysed", square_mm(area.analysed)),
    ]
    if area.unreadable:
        rows.append(("Unreadable", square_mm(area.unreadable)))
    if area.excluded:
        rows.append(("Excluded", square_mm(area.excluded)))
    if density.total_per_mm2 is not None:
        rows.append(("Cells per mm²", f"{density.total_per_mm2:,.0f}"))
    if record.ki67.bootstrap95 is not None:
        rows.append(("Between fields (95 %)", interval(record.ki67.bootstrap95)))
    if record.category is not None:
        near = ", near a cut-off" if record.category.straddles_cutoff else ""
        rows.append((f"Category ({record.category.scheme})", f"{record.category.label}{near}"))
    rows += [
        (f"Hotspot {spot.rank}", f"{percent(spot.index_pct)} of {spot.cells:,} cells")
        for spot in record.hotspots
    ]
    return tuple(rows)


def _details(record: ScoreRecord) -> tuple[tuple[str, str], ...]:
    slide, made = record.slide, record.provenance
    mpp = None if slide.mpp is None else f"{slide.mpp[0]:g} × {slide.mpp[1]:g} µm"
    size = None if slide.width is None else f"{slide.width:,} × {slide.height:,} px"
    seconds = record.seconds
    named: tuple[tuple[str, Any], ...] = (
        ("Slide id", slide.id),
        ("Size", size),
        ("Pixel", mpp),
        ("Pixel size from", slide.mpp_source),
        ("Reader", slide.reader),
        ("Vendor", slide.vendor),
        ("Fingerprint", slide.fingerprint),
        ("Model", made.weights),
        ("Weights sha256", made.weights_sha256),
        ("Threshold", made.threshold),
        ("Settings sha256", made.config_sha256),
        ("Engine", " ".join(filter(None, (made.engine, made.device, made.dtype))) or None),
        ("Program", f"{made.tool or ''} {made.version or ''}".strip() or None),
        ("Ended", made.ended),
        ("Took", None if seconds is None else f"{seconds:,.0f} s"),
    )
    return tuple((name, str(value)) for name, value in named if value is not None)


def _pieces(pieces: tuple[Piece, ...]) -> tuple[tuple[str, ...], ...]:
    """Rows of the table of pieces, largest first; a single piece is the slide itself."""
    if len(pieces) < 2:
        return ()
    largest = sorted(pieces, key=lambda piece: -piece.area_mm2)
    return tuple(
        (
            str(piece.id),
            square_mm(piece.area_mm2),
            count(piece.positive + piece.negative),
            percent(piece.index_pct),
        )
        for piece in largest[:12]
    )


def _picture(folder: Path, budget: PictureBudget) -> str:
    for name in ("overlay.jpg", "thumbnail.jpg"):
        found = _embedded(folder / name, budget.overlay_px, budget.overlay_bytes)
        if found:
            return found
    return ""


def _crops(folder: Path, budget: PictureBudget) -> tuple[tuple[str, str], ...]:
    paths = sorted((folder / "crops").glob("*.jpg"))[:6]
    found = [
        (path.stem.replace("_", " "), _embedded(path, budget.crop_px, budget.crop_bytes))
        for path in paths
    ]
    return tuple((name, picture) for name, picture in found if picture)


def _cell_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("cells*.geojson.gz"))


def _embedded(path: Path, side_px: int, most_bytes: int) -> str:
    """Return a data URI; empty for no picture, or a damaged one: the numbers matter more."""
    if not side_px:
        return ""
    try:
        content = embedded_jpeg(path, side_px=side_px, most_bytes=most_bytes)
    except OSError:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
