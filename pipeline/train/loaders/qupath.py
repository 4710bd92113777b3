"""Cells marked in QuPath: GeoJSON beside slides or images; annotated rectangles become fields."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AnnotationError
from pipeline.io.marked_slides import (
    GEOJSON_SUFFIXES,
    MarkedArea,
    MarkedSlide,
    open_marked,
    read_area,
    read_marked_slide,
)
from pipeline.io.slides import SUFFIXES
from pipeline.train.config import Meaning, SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.images import IMAGE_SUFFIXES, read_rgb, wanted
from pipeline.train.loaders.marks import marks_of, meaning_of

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})
"""Opened as pictures, whole; everything else is opened as a slide."""
WHOLE_SIDE_PX = 4096
"""A picture up to this side needs no rectangle: all of it is the field."""


def load_qupath(folder: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read ``NAME.geojson`` with the slide or picture ``NAME.*``, in ``slides`` or beside it.

    Every annotated rectangle is a field named ``NAME-1``, ``NAME-2`` in the order of the file; a
    picture without one is a field. A slide's fields are a group.
    """
    images = _images(folder if source.slides is None else folder / source.slides)
    for path, stem in _exports(folder):
        if not wanted(stem, source):
            continue
        with faults.gathered():
            image = _image_of(path, stem, images)
            marked = read_marked_slide(path)
            meanings = _meanings(path, marked, source)
            if image.suffix.lower() in PICTURES:
                yield from _picture_fields(image, path, marked, meanings, source)
            else:
                yield from _slide_fields(image, path, marked, meanings, source)


def _exports(folder: Path) -> list[tuple[Path, str]]:
    """GeoJSON files and the names of their slides."""
    found = []
    for path in sorted(folder.iterdir()):
        suffix = next((s for s in GEOJSON_SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix is not None and path.is_file():
            found.append((path, path.name[: -len(suffix)]))
    return found


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise AnnotationError(f"there is no folder {folder}; name the slides' folder")
    known = {*SUFFIXES, *IMAGE_SUFFIXES}
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in known)


def _image_of(path: Path, stem: str, images: list[Path]) -> Path:
    fits = [image for image in images if stem in (image.name, image.stem)]
    if not fits:
        raise AnnotationError(
            f"{path}: an annotation without its slide; put a slide {stem}.* beside it, or name "
            "the slides' folder (slides)"
        )
    if len(fits) > 1:
        names = ", ".join(image.name for image in fits)
        raise AnnotationError(f"{path}: fits {names}; name it after one of them, suffix included")
    return fits[0]


def _meanings(path: Path, marked: MarkedSlide, source: SourceConfig) -> list[Meaning]:
    known: dict[str, Meaning] = {}
    for number, word in enumerate(marked.words, start=1):
        if word not in known:
            try:
                known[word] = meaning_of(word, source.labels)
            except AnnotationError as error:
                raise AnnotationError(f"{path}: point {number}: {error}") from error
    return [known[word] for word in marked.words]


def _picture_fields(
    image: Path, path: Path, marked: MarkedSlide, meanings: list[Meaning], source: SourceConfig
) -> Iterator[Field]:
    if source.mpp_um is None:
        raise AnnotationError(f"{image}: a picture does not tell its resolution; give mpp_um")
    pixels = read_rgb(image)
    height, width = pixels.shape[:2]
    whole = MarkedArea(0, 0, width, height, "")
    areas = marked.areas
    if not areas and max(height, width) <= WHOLE_SIDE_PX:
        areas = (whole,)
    _check(path, marked.xy_qp, areas)
    for number, area in enumerate(areas, start=1):
        name = image.stem if area is whole else f"{image.stem}-{number}"
        x0, y0 = int(np.floor(area.x0_qp)), int(np.floor(area.y0_qp))
        x1, y1 = int(np.ceil(area.x1_qp)), int(np.ceil(area.y1_qp))
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise AnnotationError(
                f"{path}: area {number} reaches beyond the image of {width} x {height} px; "
                "check that the annotations belong to it"
            )
        part = np.ascontiguousarray(pixels[y0:y1, x0:x1])
        yield _field(name, image.stem, part, (x0, y0), area, marked, meanings, source.mpp_um)


def _slide_fields(
    image: Path, path: Path, marked: MarkedSlide, meanings: list[Meaning], source: SourceConfig
) -> Iterator[Field]:
    _check(path, marked.xy_qp, marked.areas)
    reader = open_marked(image)
    try:
        for number, area in enumerate(marked.areas, start=1):
            pixels = read_area(reader, area, mpp_um=source.mpp_um)
            name, corner = f"{image.stem}-{number}", (pixels.x0_qp, pixels.y0_qp)
            yield _field(
                name, image.stem, pixels.image, corner, area, marked, meanings, pixels.mpp_um
            )
    finally:
        reader.close()


def _check(path: Path, xy_qp: NDArray[np.float64], areas: tuple[MarkedArea, ...]) -> None:
    """Every marked cell lies in exactly one area, so that no marked cell is lost or doubled."""
    if not areas:
        raise AnnotationError(
            f"{path}: no annotated rectangle; draw one around each area in which every cell is "
            "marked, then export again"
        )
    inside = np.sum([area.holds(xy_qp) for area in areas], axis=0)
    if (inside == 0).any():
        x, y = xy_qp[int(np.argmax(inside == 0))]
        raise AnnotationError(
            f"{path}: {int((inside == 0).sum())} marked cells lie outside every rectangle, the "
            f"first at ({x:.0f}, {y:.0f}); draw a rectangle around them or delete them"
        )
    if (inside > 1).any():
        x, y = xy_qp[int(np.argmax(inside > 1))]
        raise AnnotationError(
            f"{path}: two rectangles overlap at ({x:.0f}, {y:.0f}); move them apart"
        )


def _field(
    name: str,
    group: str,
    image: NDArray[np.uint8],
    corner_qp: tuple[int, int],
    area: MarkedArea,
    marked: MarkedSlide,
    meanings: list[Meaning],
    mpp_um: float,
) -> Field:
    rows = np.flatnonzero(area.holds(marked.xy_qp))
    # a mark on the right or lower border belongs to the last pixel
    last = np.nextafter((image.shape[1], image.shape[0]), 0)
    x_px, y_px = np.minimum(marked.xy_qp[rows] - corner_qp, last).T
    marks = marks_of(
        [(float(x), float(y), meanings[row]) for x, y, row in zip(x_px, y_px, rows, strict=True)]
    )
    return Field(
        name,
        group,
        image,
        marks.xy_px[:, 0],
        marks.xy_px[:, 1],
        marks.label,
        mpp_um,
        other_xy_px=marks.other_xy_px,
    )
