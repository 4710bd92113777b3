"""A picture of a threshold sweep: F1, precision and recall above, error of the index below."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipeline.io.files import atomic_path

WIDTH_PX, PANEL_PX = 1000, 380
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 80, 190, 40, 50
INK, GRID, USED = (40, 40, 40), (222, 222, 222), (120, 120, 120)
# Okabe and Ito's colours; lines differ in their dashes too
CURVES = (
    ("f1_all", "F1, all cells", (0, 0, 0), 0),
    ("f1_positive", "F1, positive", (213, 94, 0), 0),
    ("f1_negative", "F1, negative", (0, 114, 178), 0),
    ("precision_all", "precision, all", (0, 158, 115), 9),
    ("recall_all", "recall, all", (204, 121, 167), 4),
)
INDEX_CURVES = (
    ("index_mae_pct", "index MAE", (0, 0, 0), 0),
    ("index_bias_pct", "index bias", (213, 94, 0), 9),
)
INDEX_STEPS = (4.0, 10.0, 20.0)
"""Percentage points that the lower panel may show."""
_TEXT_PX = 15


def plot_sweep(path: Path, rows: Sequence[Mapping[str, Any]], *, used: float, title: str) -> None:
    """Write a PNG of figures over thresholds, the used threshold marked.

    Parameters
    ----------
    rows
        From ``sweep.sweep``.
    used
        Threshold that the other figures are made with.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    picture = Image.new("RGB", (WIDTH_PX, 2 * PANEL_PX), "white")
    draw = ImageDraw.Draw(picture)
    _panel(draw, 0, rows, CURVES, limits=(0.0, 1.0), used=used, title=f"{title}: F1")
    errors = [abs(row[name]) for name, *_ in INDEX_CURVES for row in rows if row[name] is not None]
    # beyond the last step most cells are lost and the index means nothing
    most = next((step for step in INDEX_STEPS if max(errors, default=0) <= step), INDEX_STEPS[-1])
    limits = (-most, most)
    title = "error of the Ki-67 index, percentage points"
    _panel(draw, PANEL_PX, rows, INDEX_CURVES, limits=limits, used=used, title=title)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _panel(
    draw: ImageDraw.ImageDraw,
    top: int,
    rows: Sequence[Mapping[str, Any]],
    curves: Sequence[tuple[str, str, tuple[int, int, int], int]],
    *,
    limits: tuple[float, float],
    used: float,
    title: str,
) -> None:
    font = ImageFont.load_default(_TEXT_PX)
    left, right = LEFT_PX, WIDTH_PX - RIGHT_PX
    upper, lower = top + TOP_PX, top + PANEL_PX - BOTTOM_PX
    last = max(row["threshold"] for row in rows)

    def place(threshold: float, value: float) -> tuple[float, float]:
        within = min(max(value, limits[0]), limits[1])
        share = (within - limits[0]) / (limits[1] - limits[0])
        return left + (right - left) * threshold / last, lower - (lower - upper) * share

    draw.text((left, top + 8), title, fill=INK, font=font)
    for step in range(5):
        value = limits[0] + (limits[1] - limits[0]) * step / 4
        y = place(0, value)[1]
        draw.line([(left, y), (right, y)], fill=GRID)
        draw.text((left - 8, y), f"{value:.3g}", fill=INK, font=font, anchor="rm")
        x = place(last * step / 4, limits[0])[0]
        draw.text((x, lower + 6), f"{last * step / 4:.3g}", fill=INK, font=font, anchor="mt")
    draw.text(((left + right) / 2, lower + 26), "threshold", fill=INK, font=font, anchor="mt")
    x = place(used, 0)[0]
    _line(draw, [(x, upper), (x, lower)], USED, dash=6)
    draw.text((x + 5, upper), f"used {used:g}", fill=USED, font=font)
    for number, (name, word, colour, dash) in enumerate(curves):
        known = [row for row in rows if row[name] is not None]
        _line(draw, [place(row["threshold"], row[name]) for row in known], colour, dash=dash)
        y = upper + 12 + 24 * number
        _line(draw, [(right + 12, y), (right + 48, y)], colour, dash=dash)
        draw.text((right + 56, y), word, fill=INK, font=font, anchor="lm")


def _line(
    draw: ImageDraw.ImageDraw,
    places: Sequence[tuple[float, float]],
    colour: tuple[int, int, int],
    *,
    dash: int,
) -> None:
    """Draw a line through places; ``dash`` pixels on and off, 0: whole."""
    if not dash:
        draw.line(list(places), fill=colour, width=3, joint="curve")
        return
    travelled = 0.0
    for (x0, y0), (x1, y1) in pairwise(places):
        length = max(1e-9, ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
        done = 0.0
        while done < length:
            # a rounding error must not become a step of nothing
            step = max(1e-3, min(dash - travelled % dash, length - done))
            if int(travelled // dash) % 2 == 0:
                a, b = done / length, (done + step) / length
                draw.line(
                    [
                        (x0 + a * (x1 - x0), y0 + a * (y1 - y0)),
                        (x0 + b * (x1 - x0), y0 + b * (y1 - y0)),
                    ],
                    fill=colour,
                    width=3,
                )
            done += step
            travelled += step
