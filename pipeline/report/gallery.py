"""Crops with the cells that were found, grouped by why they were chosen."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import OutputError
from pipeline.io.crops import read_crops
from pipeline.report.layers import round_length
from pipeline.report.pictures import Picture
from pipeline.report.text import length, plural

TITLES = {
    "hotspot": ("Hotspots", "The places of highest labelling, hottest first."),
    "dense": ("Most cells", "The most crowded places: does every nucleus have its dot?"),
    "random": ("Cells by lot", "The fair sample: what holds here holds for the slide."),
    "uncertain": (
        "Least certain cells",
        "Centred on the cells that just reached the threshold: would you count them?",
    ),
}


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop's picture and its marks, in pixels of the crop.

    Attributes
    ----------
    title
        Of the picture, for a reader and for a screen reader.
    picture
        Shown at the size of its column.
    width, height
        Of the marks' frame.
    positive, negative
        SVG paths of dots.
    bar_px, bar
        Scale bar.
    """

    title: str
    picture: Picture
    width: int
    height: int
    positive: str
    negative: str
    bar_px: float
    bar: str


@dataclass(frozen=True, slots=True)
class Group:
    """Crops of one sort."""

    kind: str
    title: str
    words: str
    crops: tuple[Crop, ...]


Show = Callable[[str, Path], Picture | None]
"""Makes a picture of a sort and a file; None where it cannot be shown."""


def make_gallery(folder: Path, show: Show, most: dict[str, int]) -> tuple[Group, ...]:
    """Group the crops of a folder; a folder without crops gives no group.

    Parameters
    ----------
    folder
        ``slides/<slide_id>/crops``.
    show
        Embeds or links a picture.
    most
        How many crops of a sort are shown; sorts that are not named are left out.
    """
    try:
        index = read_crops(folder)
    except OutputError:
        return ()
    groups: list[Group] = []
    for kind, (title, words) in TITLES.items():
        if kind == "dense" and groups:  # hotspots show crowded places already
            continue
        entries = [crop for crop in index["crops"] if crop["kind"] == kind][: most.get(kind, 0)]
        crops = [_crop(folder, entry, index["mpp_um"], show) for entry in entries]
        shown = tuple(crop for crop in crops if crop is not None)
        if shown:
            groups.append(Group(kind, title, words, shown))
    return tuple(groups)


def _crop(folder: Path, entry: dict[str, Any], mpp_um: float, show: Show) -> Crop | None:
    picture = show(entry["kind"], folder / Path(entry["file"]).name)
    if picture is None:
        return None
    labels = [cell[2] for cell in entry["cells"]]
    bar_um = round_length(0.25 * entry["width_px"] * mpp_um)
    positive = labels.count("positive")
    number = entry["name"].rpartition("_")[2]
    return Crop(
        title=f"{entry['kind']} {number}: {plural(len(labels), 'cell')}, {positive} positive",
        picture=picture,
        width=entry["width_px"],
        height=entry["height_px"],
        positive=_dots(cell for cell in entry["cells"] if cell[2] == "positive"),
        negative=_dots(cell for cell in entry["cells"] if cell[2] != "positive"),
        bar_px=bar_um / mpp_um,
        bar=length(bar_um),
    )


def _dots(cells: Iterable[Sequence[Any]]) -> str:
    """Lines of no length: their round ends are dots, in few bytes."""
    return "".join(f"M{float(x):.0f} {float(y):.0f}h0" for x, y, *_ in cells)
