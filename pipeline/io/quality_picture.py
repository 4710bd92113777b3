"""The picture of what quality control left out: the overview, areas coloured and hatched, a legend.

Colours are Okabe and Ito's, and every reason has a hatching of its own, so that colour-blind
readers and black-and-white prints tell them apart. Only level pixels are shown.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.io.pictures import OVERLAY_PX, save_picture

QUALITY_PICTURE_NAME = "qc.jpg"

Pattern = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]

_STEP = 9
_LINE = 3
LOOKS: dict[str, tuple[str, tuple[int, int, int], Pattern]] = {
    "out_of_focus": ("out of focus", (0, 114, 178), lambda x, y: (x + y) % _STEP < _LINE),
    "pen": ("pen", (0, 158, 115), lambda x, y: (x - y) % _STEP < _LINE),
    "fold": ("fold", (213, 94, 0), lambda x, y: (y % _STEP < _LINE) & (x >= 0)),
    "debris": ("dirt, bubble", (0, 0, 0), lambda x, y: (x % _STEP < _LINE) & (y >= 0)),
    "pigment": (
        "pigment",
        (204, 121, 167),
        lambda x, y: ((x + y) % _STEP < _LINE) | ((x - y) % _STEP < _LINE),
    ),
}
"""Word, colour and hatching of each reason."""

_INK = (40, 40, 40)
_LEAST_WIDTH_PX = 760
_FILL = 0.30

Mask = NDArray[np.bool_]


def write_quality_picture(
    path: Path,
    rgb: NDArray[np.uint8],
    reasons: Mapping[str, Mask],
    area_mm2: Mapping[str, float],
    *,
    side_px: int = OVERLAY_PX,
) -> None:
    """Write the overview with what was left out.

    Parameters
    ----------
    path
        Of the JPEG.
    rgb
        ``(H, W, 3)`` uint8.
    reasons
        ``(H, W)`` bool by reason; reasons without a pixel are not in the legend.
    area_mm2
        By reason, for the legend.

    Raises
    ------
    ValueError
        A mask is not of the overview's size.
    OutputError
        The folder cannot be written.
    """
    for name, mask in reasons.items():
        if mask.shape != rgb.shape[:2]:
            raise ValueError(f"{name}: mask {mask.shape} and overview {rgb.shape} differ in size")
    factor = min(1.0, side_px / max(rgb.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in rgb.shape[:2])
    picture = Image.fromarray(np.ascontiguousarray(rgb)).resize(
        (width, height), Image.Resampling.BOX
    )
    pixels = _faded(picture)
    shown = [name for name in LOOKS if name in reasons and reasons[name].any()]
    for name in shown:
        _hatch(pixels, _resized(reasons[name], height, width), name)
    made = Image.fromarray(np.rint(pixels).astype(np.uint8))
    save_picture(path, _with_legend(made, shown, area_mm2), quality=85)


def _faded(picture: Image.Image) -> NDArray[np.float32]:
    """Lighter, with half of its colour: ink and eosin are still seen."""
    grey = picture.convert("L").convert("RGB")
    pale = Image.blend(
        Image.blend(picture, grey, 0.4), Image.new("RGB", picture.size, "white"), 0.3
    )
    return np.asarray(pale, np.float32).copy()


def _resized(mask: Mask, height: int, width: int) -> Mask:
    row = (np.arange(height) * mask.shape[0]) // height
    col = (np.arange(width) * mask.shape[1]) // width
    return np.asarray(mask[np.ix_(row, col)])


def _hatch(pixels: NDArray[np.float32], mask: Mask, name: str) -> None:
    """Tint, hatch and outline one area, in place."""
    _, colour, pattern = LOOKS[name]
    row, col = np.nonzero(mask)
    lines = pattern(col, row)
    alpha = np.where(lines, 0.85, _FILL)
    ink = np.asarray(colour, np.float32)
    pixels[row, col] += alpha[:, None].astype(np.float32) * (ink - pixels[row, col])
    inner = mask.copy()
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = inner & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    pixels[mask & ~inner] = ink


def _with_legend(
    picture: Image.Image, shown: list[str], area_mm2: Mapping[str, float]
) -> Image.Image:
    width = max(picture.width, _LEAST_WIDTH_PX)
    text_px = max(16, width // 56)
    font = ImageFont.load_default(text_px)
    words = [f"{LOOKS[name][0]} {area_mm2.get(name, 0.0):.3g} mm2" for name in shown]
    draw = ImageDraw.Draw(picture)
    lengths = [round(draw.textlength(word, font=font)) + 4 * text_px for word in words]
    places, line, place = [], 0, text_px
    for length in lengths:
        if place + length > width and place > text_px:
            line, place = line + 1, text_px
        places.append((place, line))
        place += length
    row_px = 2 * text_px
    whole = Image.new("RGB", (width, picture.height + (line + 1) * row_px + text_px), "white")
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    if not shown:
        middle = picture.height + text_px + text_px // 2
        draw.text((text_px, middle), "nothing was left out", fill=_INK, font=font, anchor="lm")
    for name, word, (left, number) in zip(shown, words, places, strict=True):
        top = picture.height + text_px // 2 + number * row_px
        swatch = np.full((text_px + 6, 2 * text_px, 3), 255, np.float32)
        _hatch(swatch, np.ones(swatch.shape[:2], bool), name)
        whole.paste(Image.fromarray(swatch.astype(np.uint8)), (left, top))
        middle = top + (text_px + 6) // 2
        draw.text((left + round(2.4 * text_px), middle), word, fill=_INK, font=font, anchor="lm")
    return whole
