"""A picture of one field: hits, missed and false cells, told apart by shape and by colour.

Shape tells the outcome, colour the class, so that the picture can be read with any colour vision
and in grey: circle = hit, square = missed, cross = false, a dot in a circle = found as the other
class.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.core.matching import match
from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.io.pictures import NEGATIVE_RGB, POSITIVE_RGB, draw_bar, save_picture
from pipeline.train.evaluate import Criterion, FoundCells
from pipeline.train.fields import UNCLASSED, Field

Rgb = tuple[int, int, int]

COLOURS: dict[int, Rgb] = {
    POSITIVE: POSITIVE_RGB,
    NEGATIVE: NEGATIVE_RGB,
    UNCLASSED: (0, 0, 0),
}
WHITE: Rgb = (255, 255, 255)
INK: Rgb = (40, 40, 40)
LEAST_SIDE_PX, MOST_SIDE_PX = 1000, 2000
MARK_UM = 2.6
"""Half a mark's width: a little less than a nucleus."""
BAR_UM = 25
_PALE = 0.25
_SHAPES = ("circle", "dotted", "square", "cross", "triangle")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Rows of one field's cells by what became of them.

    Attributes
    ----------
    pairs
        ``(K, 2)`` int64: found and annotated row of each hit.
    missed, false
        Rows of annotated and of found cells without a partner.
    """

    pairs: NDArray[np.int64]
    missed: NDArray[np.int64]
    false: NDArray[np.int64]


def outcome(field: Field, found: FoundCells, criterion: Criterion) -> Outcome:
    """Match the cells of a field, labels left aside."""
    pairs = match(
        criterion.placed(field, found.x_px, found.y_px),
        criterion.placed(field, field.x_px, field.y_px),
        criterion.radius,
    )
    return Outcome(
        pairs,
        missed=np.setdiff1d(np.arange(len(field.label)), pairs[:, 1]),
        false=np.setdiff1d(np.arange(len(found.label)), pairs[:, 0]),
    )


def write_field_picture(
    path: Path, field: Field, found: FoundCells, *, criterion: Criterion
) -> None:
    """Write a field with its hits, missed and false cells and a legend below as a JPEG.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    height, width = field.image.shape[:2]
    scale = min(max(1.0, LEAST_SIDE_PX / max(width, height)), MOST_SIDE_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(field.image).resize(size, Image.Resampling.LANCZOS)
    picture = Image.blend(picture, Image.new("RGB", size, WHITE), _PALE)
    result = outcome(field, found, criterion)
    pen = _Pen(picture, scale, max(4.0, MARK_UM / field.mpp_um * scale))
    _draw(pen, field, found, result)
    um_per_px = field.mpp_um / scale
    save_picture(path, _with_legend(picture, field, found, result, um_per_px), quality=88)


class _Pen:
    """Draws marks with a white edge, so that they stand out on brown and on blue."""

    def __init__(self, picture: Image.Image, scale: float, half: float) -> None:
        self._draw = ImageDraw.Draw(picture)
        self._scale, self._half = scale, half

    def mark(self, shape: str, x_px: float, y_px: float, colour: Rgb, inner: Rgb = WHITE) -> None:
        """Draw one mark at a place of the field."""
        x, y = x_px * self._scale, y_px * self._scale
        draw_mark(self._draw, shape, x, y, self._half, colour, inner)


def draw_mark(
    draw: ImageDraw.ImageDraw,
    shape: str,
    x: float,
    y: float,
    half: float,
    colour: Rgb,
    inner: Rgb = WHITE,
) -> None:
    """Draw a mark of half a width around (x, y) in pixels of the picture."""
    thin = max(2, round(half / 4.5))
    for ink, stroke in ((WHITE, thin + 2), (colour, thin)):
        grown = half + (1 if ink == WHITE else 0)
        box = (x - grown, y - grown, x + grown, y + grown)
        if shape in {"circle", "dotted"}:
            draw.ellipse(box, outline=ink, width=stroke)
        elif shape == "square":
            draw.rectangle(box, outline=ink, width=stroke)
        elif shape == "triangle":
            corners = [(x, y - grown), (x + grown, y + grown), (x - grown, y + grown)]
            draw.line([*corners, corners[0]], fill=ink, width=stroke, joint="curve")
        else:
            reach = 0.8 * grown
            draw.line((x - reach, y - reach, x + reach, y + reach), fill=ink, width=stroke)
            draw.line((x - reach, y + reach, x + reach, y - reach), fill=ink, width=stroke)
    if shape == "dotted":
        dot = 0.45 * half
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=inner, outline=WHITE)


def _draw(pen: _Pen, field: Field, found: FoundCells, result: Outcome) -> None:
    for x, y in field.other_xy_px:
        pen.mark("triangle", x, y, INK)
    for row in result.missed:
        pen.mark("square", field.x_px[row], field.y_px[row], COLOURS[int(field.label[row])])
    for row in result.false:
        pen.mark("cross", found.x_px[row], found.y_px[row], COLOURS[int(found.label[row])])
    for said, told in result.pairs:
        true, call = int(field.label[told]), int(found.label[said])
        differ = {true, call} == {POSITIVE, NEGATIVE}
        shape = "dotted" if differ else "circle"
        colour = COLOURS[call if true == UNCLASSED else true]
        pen.mark(shape, field.x_px[told], field.y_px[told], colour, COLOURS[call])


def _with_legend(
    picture: Image.Image, field: Field, found: FoundCells, result: Outcome, um_per_px: float
) -> Image.Image:
    text_px = max(15, picture.width // 62)
    height = 5 * text_px
    whole = Image.new("RGB", (picture.width, picture.height + height), WHITE)
    whole.paste(picture, (0, 0))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(text_px)
    first, second = picture.height + 1.5 * text_px, picture.height + 3.6 * text_px
    told, said = field.label[result.pairs[:, 1]], found.label[result.pairs[:, 0]]
    wrong = int(np.count_nonzero((told != said) & (told != UNCLASSED) & (said != UNCLASSED)))
    words = [
        ("circle", f"hit {len(result.pairs) - wrong}"),
        ("dotted", f"other class {wrong} (ring annotated, dot found)"),
        ("square", f"missed {len(result.missed)}"),
        ("cross", f"false {len(result.false)}"),
    ]
    if len(field.other_xy_px):
        words.append(("triangle", f"marked, no tumour cell {len(field.other_xy_px)}"))
    place = float(text_px)
    for shape, word in words:
        draw_mark(draw, shape, place + text_px / 2, first, text_px / 2, INK, INK)
        draw.text((place + 1.5 * text_px, first), word, fill=INK, font=font, anchor="lm")
        place += 2.6 * text_px + draw.textlength(word, font=font)
    place = float(text_px)
    classes = [(POSITIVE, "positive"), (NEGATIVE, "negative"), (UNCLASSED, "no class")]
    drawn = {POSITIVE, NEGATIVE, *field.label.tolist(), *found.label.tolist()}
    for label, word in [pair for pair in classes if pair[0] in drawn]:
        box = (place, second - text_px / 2, place + text_px, second + text_px / 2)
        draw.rectangle(box, fill=COLOURS[label])
        draw.text((place + 1.5 * text_px, second), word, fill=INK, font=font, anchor="lm")
        place += 3 * text_px + draw.textlength(word, font=font)
    draw.text((place, second), f"field {field.name}", fill=INK, font=font, anchor="lm")
    bar = round(BAR_UM / um_per_px)
    left = picture.width - bar - text_px
    draw_bar(draw, left, round(second), bar, f"{BAR_UM} um", text_px=text_px)
    return whole
