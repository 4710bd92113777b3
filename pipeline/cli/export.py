"""The command `ki67 export`: make files for other programs again from stored results."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from pipeline.report.text import plural

if TYPE_CHECKING:
    from pipeline.io.qupath import PackOptions
    from pipeline.io.score import ScoreRecord

EXPORTS_NAME = "exports"

_PACK_ONLY = ("geojson", "shape", "scores", "tiles")


@click.command("export")
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--qupath", is_flag=True, help="A QuPath project: tables, areas, script.")
@click.option("--csv", is_flag=True, help="Cells as a table: pixels, micrometres, label, score.")
@click.option("--zarr", is_flag=True, help="Heatmap and density maps as OME-Zarr.")
@click.option("--ome-tiff", is_flag=True, help="Heatmap as pyramidal OME-TIFF.")
@click.option("--slide", "slides", multiple=True, help="Id or file name; may be repeated. [all]")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="[OUT/exports]")
@click.option("--ome-zarr", type=click.Choice(["0.5", "0.4"]), default="0.5", show_default=True)
@click.option("--geojson", is_flag=True, help="--qupath: cells as GeoJSON too, for drag and drop.")
@click.option("--shape", type=click.Choice(["point", "circle"]), help="--geojson: of the cells.")
@click.option("--scores", is_flag=True, help="--geojson: each cell carries its score.")
@click.option(
    "--tiles",
    type=click.Choice(["tile", "annotation"]),
    help="--qupath: squares with the local index, as detection tiles or as annotations.",
)
@click.option("--tile-um", type=click.FloatRange(min=10), default=256.0, show_default=True)
def export(
    out: Path,
    *,
    qupath: bool,
    csv: bool,
    zarr: bool,
    ome_tiff: bool,
    slides: tuple[str, ...],
    to: Path | None,
    ome_zarr: Literal["0.5", "0.4"],
    **pack: object,
) -> None:
    """Make exports again from the results in OUT, the folder of `ki67 run --out`.

    No slide is read and no model is run. Files go to OUT/exports/csv, zarr and ome-tiff, the QuPath
    project to OUT/qupath; with --to DIR all go below DIR. The results themselves are not touched.

    Exit codes: 0 every slide with cells was exported, 1 one is damaged or an asked-for one has
    none, 2 usage, 3 a run holds the folder.
    """
    from pipeline.io import exports
    from pipeline.io.exportable import exportable
    from pipeline.io.results import read_scores
    from pipeline.run.lock import locked

    if not (qupath or csv or zarr or ome_tiff):
        raise click.UsageError("choose what to export: --qupath, --csv, --zarr, --ome-tiff")
    asked = [name for name in _PACK_ONLY if pack[name]]
    if asked and not qupath:
        raise click.UsageError(f"--{asked[0]} goes with --qupath")
    # what goes into OUT itself is not written while a run writes there too
    with locked(out) if to is None else nullcontext():
        records = read_scores(out)
        found = exportable(out, records, slides, maps=zarr or ome_tiff)
        chosen = found.sound
        if qupath:
            folder = _write_pack(out, records, chosen, to, _pack_options(pack))
            click.echo(f"{_count(chosen)}: {folder}")
        below = to or out / EXPORTS_NAME
        mapped = [record for record in chosen if exports.has_heatmap(out, record)]
        kinds: list[tuple[bool, str, list[ScoreRecord], Callable[..., Path]]] = [
            (csv, "csv", chosen, exports.export_csv),
            (zarr, "zarr", mapped, partial(exports.export_zarr, ome_zarr=ome_zarr)),
            (ome_tiff, "ome-tiff", mapped, exports.export_ome_tiff),
        ]
        for wanted, name, of, write in kinds:
            if wanted:
                for record in of:
                    write(out, record, below / name)
                click.echo(f"{_count(of)}: {below / name}")
    if found.empty and not slides:
        click.echo(f"{_count(found.empty)} without cells left out", err=True)
    for line in found.refused:
        click.echo(f"left out: {line}", err=True)
    click.get_current_context().exit(int(bool(found.refused)))


def _write_pack(
    out: Path,
    records: "Sequence[ScoreRecord]",
    chosen: "Sequence[ScoreRecord]",
    to: Path | None,
    options: "PackOptions",
) -> Path:
    """In its own place the pack keeps all slides; elsewhere it holds the chosen ones."""
    from pipeline.io.qupath import QUPATH_NAME, write_qupath

    if to is not None:
        return write_qupath(out, chosen, folder=to / QUPATH_NAME, options=options)
    ids = {record.slide.id for record in chosen}
    return write_qupath(out, records, options=options, chosen=ids)


def _pack_options(pack: dict[str, object]) -> "PackOptions":
    from pipeline.io.cells_text import CellShape
    from pipeline.io.qupath import PackOptions
    from pipeline.io.qupath_maps import TileKind

    shapes: dict[str, CellShape] = {name: name for name in get_args(CellShape)}
    kinds: dict[str, TileKind] = {name: name for name in get_args(TileKind)}
    return PackOptions(
        geojson=bool(pack["geojson"] or pack["shape"] or pack["scores"]),
        shape=shapes.get(str(pack["shape"])),
        scores=bool(pack["scores"]),
        tiles=kinds.get(str(pack["tiles"])),
        tile_um=float(str(pack["tile_um"])),
        again=True,
    )


def _count(records: "Sequence[ScoreRecord]") -> str:
    return plural(len(records), "slide")
