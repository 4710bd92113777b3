"""One slide of the report: its numbers as text, its pictures embedded or linked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.io.crops import CROPS_NAME
from pipeline.io.score import ScoreRecord
from pipeline.report.gallery import Group, make_gallery
from pipeline.report.layers import Overview, make_overview
from pipeline.report.pictures import Picture, embedded, linked
from pipeline.report.rows import (
    details_of,
    exclusions_of,
    facts_of,
    hotspots_of,
    intervals_of,
    pieces_of,
)
from pipeline.report.text import percent
from pipeline.report.words import Wording, flag_words, status_wording

LINKED_FILES = (
    "score.json",
    "cells.parquet",
    "candidates.parquet",
    "areas.geojson",
    "overlay.jpg",
    "thumbnail.jpg",
    "qc.jpg",
    "heatmap.ome.zarr",
    "density",
)
ALL_CROPS = {"hotspot": 3, "dense": 3, "random": 6, "uncertain": 6}


@dataclass(frozen=True, slots=True)
class Budget:
    """What the embedded pictures of a card may weigh.

    Attributes
    ----------
    overview_px, large_px, close_px
        Longer side of the overview, of crops of hotspots and crowds, of crops around cells.
    overview_bytes, large_bytes, close_bytes
        Of each WebP, before base64 adds a third.
    crops
        How many of each sort.
    """

    overview_px: int
    overview_bytes: int
    large_px: int
    large_bytes: int
    close_px: int
    close_bytes: int
    crops: dict[str, int]

    @classmethod
    def for_slides(cls, slides: int) -> "Budget":
        """Keep a card below 300 kB, and a page of a hundred cards at 16 MB."""
        if slides <= 25:
            most = {"hotspot": 3, "dense": 3, "random": 4, "uncertain": 4}
            return cls(1000, 85_000, 400, 16_000, 256, 7_000, most)
        most = {"hotspot": 2, "dense": 2, "random": 3, "uncertain": 3}
        return cls(640, 40_000, 256, 9_000, 200, 4_500, most)


@dataclass(frozen=True, slots=True)
class Card:
    """Everything a template shows of one slide; all text is escaped there.

    Attributes
    ----------
    record, wording
        The score, and its status in words.
    remark
        Why the status is not ok.
    index, intervals
        Text; (name, text) of each interval that is known.
    facts, details
        (name, text): the numbers, and what made them.
    flags
        (flag, what it means).
    hotspots, pieces, exclusions
        Rows of tables.
    overview, quality_picture, gallery
        Pictures.
    links
        (name, address relative to the page) of the slide's files.
    missing_cells
        The file of cells is gone.
    """

    record: ScoreRecord
    wording: Wording
    remark: str
    index: str
    intervals: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, str], ...]
    flags: tuple[tuple[str, str], ...]
    hotspots: tuple[tuple[str, ...], ...]
    pieces: tuple[tuple[str, ...], ...]
    exclusions: tuple[tuple[str, ...], ...]
    overview: Overview | None
    quality_picture: Picture | None
    gallery: tuple[Group, ...]
    links: tuple[tuple[str, str], ...]
    missing_cells: bool


def embedded_card(out: Path, record: ScoreRecord, budget: Budget) -> Card:
    """Make the card of a page that stands alone."""
    folder = out / "slides" / record.slide.id

    def show(kind: str, path: Path) -> Picture | None:
        close = kind in {"random", "uncertain"}
        side, most = (
            (budget.close_px, budget.close_bytes)
            if close
            else (budget.large_px, budget.large_bytes)
        )
        return embedded(path, side_px=side, most_bytes=most)

    # encoding leaves other threads to run, and the crops take as long as the overview
    with ThreadPoolExecutor(1) as beside:
        gallery = beside.submit(make_gallery, folder / CROPS_NAME, show, budget.crops)
        picture = embedded(
            folder / "thumbnail.jpg", side_px=budget.overview_px, most_bytes=budget.overview_bytes
        )
        return _card(
            folder,
            record,
            overview=make_overview(folder, record, picture) if picture else None,
            quality_picture=show("quality", folder / "qc.jpg"),
            gallery=gallery.result(),
            root="",
        )


def linked_card(out: Path, record: ScoreRecord, root: str) -> Card:
    """Make the card of a page that lies in the output folder; ``root`` leads back to it."""
    folder = out / "slides" / record.slide.id

    def show(_kind: str, path: Path) -> Picture | None:
        return linked(path, f"{root}{path.relative_to(out).as_posix()}")

    picture = show("overview", folder / "thumbnail.jpg")
    return _card(
        folder,
        record,
        overview=make_overview(folder, record, picture) if picture else None,
        quality_picture=show("quality", folder / "qc.jpg"),
        gallery=make_gallery(folder / CROPS_NAME, show, ALL_CROPS),
        root=root,
    )


def remark_on(record: ScoreRecord) -> str:
    """The reason without what stands beside it anyway: the slide's name, the flags."""
    reason = (record.reason or "").removeprefix(f"{record.slide.name}: ")
    if reason == ", ".join(record.flags):
        return ""
    return reason


def _card(
    folder: Path,
    record: ScoreRecord,
    *,
    overview: Overview | None,
    quality_picture: Picture | None,
    gallery: tuple[Group, ...],
    root: str,
) -> Card:
    cells = sorted(path.name for path in folder.glob("cells*.geojson.gz"))
    return Card(
        record=record,
        wording=status_wording(record.status),
        remark=remark_on(record),
        index=percent(record.ki67.index_pct),
        intervals=intervals_of(record),
        facts=facts_of(record),
        details=details_of(record),
        flags=tuple((flag.replace("_", " "), flag_words(flag)) for flag in record.flags),
        hotspots=hotspots_of(record),
        pieces=pieces_of(record),
        exclusions=exclusions_of(record),
        overview=overview,
        quality_picture=quality_picture,
        gallery=gallery,
        links=tuple(
            (name, f"{root}slides/{record.slide.id}/{name}")
            for name in (*LINKED_FILES, *cells)
            if (folder / name).exists()
        ),
        missing_cells=record.counts.total is not None and not (folder / "cells.parquet").exists(),
    )
