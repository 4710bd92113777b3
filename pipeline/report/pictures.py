"""Pictures for a page: embedded as small WebP, or linked where the page has its files beside it."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image, WebPImagePlugin

_SMALLEST_PX = 32
# named by its module: Pillow imports all its formats to look for one that it does not know yet
_WEBP = WebPImagePlugin.WebPImageFile.format


@dataclass(frozen=True, slots=True)
class Picture:
    """What an ``img`` element needs; sizes in pixels of the picture as it is shown."""

    src: str
    width: int
    height: int


def embedded(path: Path, *, side_px: int, most_bytes: int) -> Picture | None:
    """Encode a picture file smaller, as a data URI.

    Parameters
    ----------
    path
        Of a JPEG.
    side_px
        Longer side at most.
    most_bytes
        Of the WebP, before base64 adds a third.

    Returns
    -------
    None where the file is missing or damaged: the numbers matter more.
    """
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (side_px, side_px))  # decodes no more than is needed
            picture = opened.convert("RGB")
    except OSError:
        return None
    side = float(min(side_px, max(picture.size)))
    while True:
        picture.thumbnail((int(side), int(side)), Image.Resampling.LANCZOS)
        for quality in (76, 58):
            content = webp_bytes(picture, quality=quality)
            if len(content) <= most_bytes or side <= _SMALLEST_PX:
                return Picture(data_uri(content), *picture.size)
        # bytes grow with the pixels: one step is mostly enough
        side = max(_SMALLEST_PX, 0.95 * side * min(1.0, (most_bytes / len(content)) ** 0.5))


def linked(path: Path, address: str) -> Picture | None:
    """Name a picture file by its address relative to the page; None where it cannot be read."""
    try:
        with Image.open(path) as opened:
            return Picture(quote(address), *opened.size)
    except OSError:
        return None


def webp_bytes(picture: Image.Image, *, quality: int) -> bytes:
    """Encode as WebP; the same picture gives the same bytes."""
    stream = io.BytesIO()
    picture.save(stream, _WEBP, quality=quality, method=2)
    return stream.getvalue()


def data_uri(webp: bytes) -> str:
    """Put a WebP into an address."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
