"""Pictures of a whole slide for people: thumbnail and overlay of what was found.

Everything comes from level pixels, never from the label or macro image, which may name a patient.
Colours are told apart by colour-blind readers: positive vermilion, negative blue.
"""

import io
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.core.frame import PlaneFrame
from pipeline.core.points import POSITIVE, CellPoints
from pipeline.io.files import write_bytes_atomic
from pipeline.io.outline import exact_outline

POSITIVE_RGB = (213, 94, 0)
NEGATIVE_RGB = (0, 114, 178)
OUTLINE_RGB = (0, 110, 80)
THUMBNAIL_PX = 1024
OVERLAY_PX = 1600
DOTS_MAX_CELLS = 20_000
"""More dots than this hide one another: the overlay then shows the local index instead."""

INDEX_SCALE_PCT = 50.0
"""The overlay's colours end here, the same on every slide so that slides can be compared."""

_BIN_PX = 5
_LEAST_WIDTH_PX = 760
_INK = (40, 40, 40)
_INDEX_COLOURS = np.array([NEGATIVE_RGB, (247, 230, 150), POSITIVE_RGB], dtype=np.float64)

Rgb = NDArray[np.uint8]


def write_thumbnail(path: Path, rgb: Rgb, *, side_px: int = THUMBNAIL_PX) -> None:
    """Write the overview as a JPEG of at most ``side_px`` on its longer side.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    save_picture(path, _fitted(rgb, side_px), quality=88)


def write_overlay(
    path: Path,
    rgb: Rgb,
    frame: PlaneFrame,
    *,
    mask: NDArray[np.bool_],
    points: CellPoints,
    mpp_um: float,
    side_px: int = OVERLAY_PX,
) -> None:
    """Write the overview with the tissue outline and the cells, a legend and a scale bar below.

    Up to ``DOTS_MAX_CELLS`` cells are dots; more become the local labelling index, the more
    opaque the more cells stand there, so that a few cells do not shout.

    Parameters
    ----------
    path
        Of the JPEG.
    rgb
        Overview, uint8 ``(height, width, 3)``.
    frame
        Of the overview.
    mask
        Tissue, bool ``(height, width)``.
    points
        Cells in level-0 pixels.
    mpp_um
        Micrometres per overview pixel.
    side_px
        Longer side of the picture.

    Raises
    ------
    ValueError
        Overview, frame and mask differ in size.
    OutputError
        The folder cannot be written.
    """
    if rgb.shape[:2] != mask.shape or mask.shape != (frame.height, frame.width):
        raise ValueError(f"overview {rgb.shape}, mask {mask.shape} and {frame} differ in size")
    picture = _faded(_fitted(rgb, side_px))
    scale = picture.width / frame.width, picture.height / frame.height
    x, y = frame.from_l0(points.x_l0, points.y_l0)
    x, y = x * scale[0], y * scale[1]
    dots = len(points) <= DOTS_MAX_CELLS
    if dots:
        picture = _with_dots(picture, x, y, points.label)
    else:
        picture = _with_index(picture, x, y, points.label)
    _draw_outline(picture, mask, scale)
    um_per_px = mpp_um / scale[0]
    save_picture(path, _with_legend(picture, points, um_per_px, dots=dots), quality=82)


def jpeg_bytes(picture: Image.Image, *, quality: int) -> bytes:
    """Encode a picture as JPEG; the same picture gives the same bytes."""
    stream = io.BytesIO()
    # full colour resolution: thin rings and dots keep their colour
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def save_picture(path: Path, picture: Image.Image, *, quality: int) -> None:
    """Write a picture as JPEG in one step.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_bytes_atomic(path, jpeg_bytes(picture, quality=quality))


def draw_bar(
    draw: ImageDraw.ImageDraw, left: int, top: int, length: int, word: str, *, text_px: int = 15
) -> None:
    """Draw a scale bar with its length above it."""
    font = ImageFont.load_default(text_px)
    draw.rectangle((left, top, left + length, top + 4), fill=_INK, outline=(255, 255, 255))
    draw.text(
        (left + length / 2, top - 3),
        word,
        fill=_INK,
        font=font,
        anchor="ms",
        stroke_width=2,
        stroke_fill=(255, 255, 255),
    )


def _fitted(rgb: Rgb, side_px: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    factor = min(1.0, side_px / max(picture.size))
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    if size == picture.size:
        return picture
    return picture.resize((size[0], size[1]), Image.Resampling.BOX, reducing_gap=2.0)


def _faded(picture: Image.Image) -> Image.Image:
    """Half grey and lighter: the tissue stays readable under the colours of the cells."""
    grey = picture.convert("L").convert("RGB")
    pale = Image.blend(picture, grey, 0.75)
    return Image.blend(pale, Image.new("RGB", picture.size, (255, 255, 255)), 0.35)


def _with_dots(
    picture: Image.Image,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    label: NDArray[np.uint8],
) -> Image.Image:
    if not len(x):  # before prediction: enlarging and shrinking would only blur it
        return picture
    radius = 3.0 if len(x) < DOTS_MAX_CELLS // 10 else 2.0
    large = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(large)
    for kind, colour in ((0, NEGATIVE_RGB), (POSITIVE, POSITIVE_RGB)):  # the rarer sort on top
        for place in zip(2 * x[label == kind], 2 * y[label == kind], strict=True):
            draw.circle(place, 2 * radius, fill=colour)
    return large.resize(picture.size, Image.Resampling.BOX)


def _with_index(
    picture: Image.Image,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    label: NDArray[np.uint8],
) -> Image.Image:
    width, height = -(-picture.width // _BIN_PX), -(-picture.height // _BIN_PX)
    col = np.clip((x // _BIN_PX).astype(np.int64), 0, width - 1)
    row = np.clip((y // _BIN_PX).astype(np.int64), 0, height - 1)
    total = np.bincount(row * width + col, minlength=width * height).reshape(height, width)
    positive = np.bincount(
        (row * width + col)[label == POSITIVE], minlength=width * height
    ).reshape(height, width)
    some = total > 0
    index = np.where(some, 100.0 * positive / np.maximum(total, 1), 0.0)
    crowded = max(1.0, float(np.percentile(total[some], 90)))
    alpha = np.where(some, 0.25 + 0.65 * np.minimum(total / crowded, 1.0), 0.0)
    layer = np.dstack([index_colour(index), np.rint(255 * alpha)]).astype(np.uint8)
    top = Image.fromarray(layer, "RGBA").resize(
        (width * _BIN_PX, height * _BIN_PX), Image.Resampling.NEAREST
    )
    base = picture.convert("RGBA")
    base.alpha_composite(top.crop((0, 0, picture.width, picture.height)))
    return base.convert("RGB")


def index_colour(index_pct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colour of a local index, RGB 0 to 255 in a last axis of 3; one scale for every slide."""
    place = np.clip(index_pct / INDEX_SCALE_PCT, 0.0, 1.0) * (len(_INDEX_COLOURS) - 1)
    knots = np.arange(len(_INDEX_COLOURS))
    return np.stack([np.interp(place, knots, _INDEX_COLOURS[:, c]) for c in range(3)], axis=-1)


def _draw_outline(
    picture: Image.Image, mask: NDArray[np.bool_], scale: tuple[float, float]
) -> None:
    draw = ImageDraw.Draw(picture)
    outline = shapely.simplify(exact_outline(mask), 0.7 / min(scale))
    for part in shapely.get_parts(outline):
        for ring in (part.exterior, *part.interiors):
            corners = shapely.get_coordinates(ring) * scale
            draw.line([tuple(corner) for corner in corners.tolist()], fill=OUTLINE_RGB, width=2)


def _with_legend(
    picture: Image.Image, points: CellPoints, um_per_px: float, *, dots: bool
) -> Image.Image:
    width = max(picture.width, _LEAST_WIDTH_PX)
    # readable when the picture is shown at half its size
    text_px = max(16, width // 56)
    height = 3 * text_px
    whole = Image.new("RGB", (width, picture.height + height), (255, 255, 255))
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(text_px)
    middle, place = picture.height + height // 2, text_px
    draw.line([(place, middle), (place + 1.5 * text_px, middle)], fill=OUTLINE_RGB, width=4)
    place = _write(draw, font, place + 2 * text_px, middle, "tissue")
    if dots:
        for word, count, colour in (
            ("positive", points.positive, POSITIVE_RGB),
            ("negative", points.negative, NEGATIVE_RGB),
        ):
            draw.circle((place + text_px / 2, middle), 0.4 * text_px, fill=colour)
            place = _write(draw, font, place + round(1.3 * text_px), middle, f"{word} {count:,}")
    else:
        place = _write(draw, font, place, middle, "local Ki-67 index:  0 %") - text_px // 2
        ramp = index_colour(np.linspace(0, INDEX_SCALE_PCT, 7 * text_px))
        scale = np.repeat(np.rint(ramp).astype(np.uint8)[None], text_px, axis=0)
        whole.paste(Image.fromarray(scale), (place, middle - text_px // 2))
        words = f"{INDEX_SCALE_PCT:g} % and more"
        _write(draw, font, place + round(7.5 * text_px), middle, words)
    length_um = _round_length(0.15 * width * um_per_px)
    word = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"
    bar = round(length_um / um_per_px)
    draw_bar(draw, width - bar - text_px, middle + text_px // 2, bar, word, text_px=text_px)
    return whole


def _write(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    left: int,
    middle: int,
    text: str,
) -> int:
    """Write a word of the legend; return where the next may begin."""
    draw.text((left, middle), text, fill=_INK, font=font, anchor="lm")
    gap = draw.textlength("mm", font=font)
    return left + round(draw.textlength(text, font=font) + gap)


def _round_length(most_um: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that fits."""
    power = 10.0 ** np.floor(np.log10(max(most_um, 1e-3)))
    return float(max(step for step in (1, 2, 5) if step * power <= most_um * (1 + 1e-9)) * power)
