"""Images of a set of fields: which there are, and their pixels as RGB of 8 bits."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.marks import Marks

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_AS_RGB = frozenset({"RGB", "P"})


def image_paths(folder: Path, source: SourceConfig) -> list[Path]:
    """Images of a folder that fit the source's patterns, ordered by name.

    Raises
    ------
    AnnotationError
        There is no such folder.
    """
    if not folder.is_dir():
        raise AnnotationError(f"source {source.name!r}: there is no folder {folder}")
    paths = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in paths if wanted(path.stem, source))


def wanted(stem: str, source: SourceConfig) -> bool:
    """Whether a name without suffix fits the source's patterns."""

    def fits(patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(stem, pattern) for pattern in patterns)

    return fits(source.include) and not fits(source.exclude)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as ``(H, W, 3)`` uint8.

    Raises
    ------
    AnnotationError
        Unreadable, or no RGB of 8 bits: grey, 16 bits, CMYK or seen through.
    """
    try:
        with Image.open(path) as opened:
            mode, channels = opened.mode, len(opened.getbands())
            # Pillow calls these RGB as well and keeps the upper byte
            deep = any(";16" in str(part) for part in getattr(opened, "tile", ()))
            opaque = mode == "RGBA" and opened.getchannel("A").getextrema() == (255, 255)
            pixels = np.asarray(opened.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError(
            f"{path}: the image cannot be read ({error}); copy it again or exclude it"
        ) from error
    if mode not in _AS_RGB and not opaque:
        word = "channel" if channels == 1 else "channels"
        raise AnnotationError(
            f"{path}: the image has {channels} {word} (mode {mode}); save it as RGB of 8 bits"
        )
    if deep:
        raise AnnotationError(f"{path}: the image has 16 bits a channel; save it as RGB of 8 bits")
    return pixels


def image_field(
    path: Path, marks: Marks, source: SourceConfig, *, group: str, name: str | None = None
) -> Field:
    """Make the field of an image file and its marks."""
    return Field(
        name=name or path.stem,
        group=group,
        image=read_rgb(path),
        x_px=marks.xy_px[:, 0],
        y_px=marks.xy_px[:, 1],
        label=marks.label,
        mpp_um=source.image_mpp_um,
        other_xy_px=marks.other_xy_px,
    )


def note_orphans(
    annotations: Iterable[tuple[str, Path]],
    images: Iterable[str],
    source: SourceConfig,
    faults: Faults,
) -> None:
    """Note each annotation (name of its image, file) whose image is not there."""
    known = frozenset(images)
    for stem, path in sorted(annotations):
        if stem not in known and wanted(stem, source):
            faults.add(f"{path}: an annotation without its image; add the image or exclude {stem}")


def without_annotation(path: Path) -> AnnotationError:
    """Make the error of an image whose annotation file ``path`` is not there."""
    return AnnotationError(
        f"{path}: the image's annotation is missing; add it or exclude the image"
    )


def split_folders(folder: Path, source: SourceConfig) -> list[tuple[str, Path]]:
    """Parts of a folder that is divided into splits: (name, folder); undivided: one, no name.

    Raises
    ------
    AnnotationError
        The source asks for a split that is not there.
    """
    parts = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if source.split is None:
        return [(part.name, part) for part in parts] or [("", folder)]
    chosen = [(part.name, part) for part in parts if part.name == source.split]
    if not chosen:
        there = ", ".join(part.name for part in parts) or "none"
        raise AnnotationError(
            f"source {source.name!r}: {folder} has no split {source.split!r}; there are: {there}"
        )
    return chosen
