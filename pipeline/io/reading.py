"""What both slide readers share: level geometry, white for absent pixels, one-line errors."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.tiling import Box
from pipeline.errors import UnreadableSlideError

WHITE = 255
PRESENT_ALPHA = 128
"""Alpha from which a pixel counts as stored."""


def unreadable(path: Path, reason: object) -> UnreadableSlideError:
    """Make the one-line error of a file: its name and the reason, without any folder."""
    text = " ".join(str(reason).split())
    for folder in sorted({str(path.parent), str(path.parent.resolve())}, key=len, reverse=True):
        if folder not in (".", "/"):
            text = text.replace(f"{folder}/", "")
    text = text.removeprefix(f"{path.name}: ")
    return UnreadableSlideError(f"{path.name}: {text or 'cannot be read'}")


def refuse_no_file(path: Path) -> None:
    """Refuse what is not a readable, non-empty file.

    Raises
    ------
    UnreadableSlideError
        Missing file, folder, empty file, no permission.
    """
    try:
        if path.is_dir():
            raise unreadable(path, "is a folder, not a slide file")
        if not path.exists():
            raise unreadable(path, "no such file")
        with path.open("rb") as file:
            if not file.read(1):
                raise unreadable(path, "the file is empty (0 bytes); copy it again")
    except UnreadableSlideError:
        raise
    except OSError as error:
        raise unreadable(path, f"cannot be opened: {error.strerror or error}") from error


def number(text: object) -> float | None:
    """Read a property as a float; a decimal comma is understood, anything else is None."""
    if text is None:
        return None
    try:
        value = float(str(text).strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def pair(x: object, y: object) -> tuple[float, float] | None:
    """Read two properties as floats; None where one of them is silent."""
    numbers = number(x), number(y)
    return None if numbers[0] is None or numbers[1] is None else (numbers[0], numbers[1])


def level_scales(
    sizes: Sequence[tuple[int, int]], *, snap: bool = True
) -> tuple[tuple[float, float], ...]:
    """Level-0 pixels per level pixel (x, y) of each level.

    A level of 2221 pixels under a base of 4443 was made by a factor of exactly 2 whose odd last
    column was dropped: readers report the ratio 2.0005, which is a pixel wrong at the far end.
    ``snap`` takes the whole factor where rounding a size down or up explains the difference.
    """
    base_w, base_h = sizes[0]
    scales = []
    for width, height in sizes:
        ratio_x, ratio_y = base_w / width, base_h / height
        whole = round((ratio_x + ratio_y) / 2)
        explained = max(abs(base_w - whole * width), abs(base_h - whole * height)) < whole
        scales.append((float(whole), float(whole)) if snap and explained else (ratio_x, ratio_y))
    return tuple(scales)


def bounds_within(size: tuple[int, int], corner: Sequence[object], extent: Sequence[object]) -> Box:
    """Find the part of the slide that was scanned, or the whole where the file is silent or wrong.

    Parameters
    ----------
    corner, extent
        The file's (x, y) and (width, height) as it states them: text, number or None.
    """
    x, y, width, height = (number(value) for value in (*corner, *extent))
    whole = Box(0, 0, *size)
    if x is None or y is None or width is None or height is None:
        return whole
    x0, y0 = max(0, math.floor(x)), max(0, math.floor(y))
    x1, y1 = min(size[0], math.floor(x + width)), min(size[1], math.floor(y + height))
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else whole


def on_white(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Composite an RGBA image (alpha not premultiplied) on white.

    Returns
    -------
    pixels
        ``(H, W, 3)`` uint8.
    absent
        ``(H, W)`` bool: hardly anything is stored there.
    """
    # Pillow goes over pixels several times faster than indexing by masks
    alpha = image.getchannel("A")
    stored = np.asarray(alpha)
    if stored.min(initial=WHITE) == WHITE:
        return np.array(image.convert("RGB")), np.zeros(stored.shape, np.bool_)
    glass = Image.new("RGB", image.size, (WHITE, WHITE, WHITE))
    if stored.any():
        glass.paste(image, mask=alpha)
    return np.array(glass), stored < PRESENT_ALPHA


def inside(level_size: tuple[int, int], x: int, y: int, width: int, height: int) -> Box | None:
    """Find the part of a rectangle that lies on the level, in level pixels; None if there is none.

    Raises
    ------
    ValueError
        When the rectangle has no pixels.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a rectangle of {width} x {height} pixels cannot be read")
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + width, level_size[0]), min(y + height, level_size[1])
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


_OME_SIZE = re.compile(r'PhysicalSize([XY])(Unit)?\s*=\s*"([^"]{1,40})"')


def ome_mpp(description: str) -> tuple[float, float] | None:
    """Micrometres per pixel of the first image of an OME-XML text, if it states micrometres.

    The text is searched, never parsed as XML: it comes from outside.
    """
    found: dict[str, str] = {}
    for axis, unit, value in _OME_SIZE.findall(description[: 1 << 20]):
        found.setdefault(axis + unit, value)
    units = {found.get("XUnit", "µm"), found.get("YUnit", "µm")}
    if not units <= {"µm", "μm", "um", "&#181;m", "&#xB5;m"}:
        return None
    return pair(found.get("X"), found.get("Y"))
