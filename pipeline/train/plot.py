"""A picture of a training: loss and validation F1 over steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipeline.io.files import atomic_path

WIDTH_PX, PANEL_PX, MARGIN_PX = 900, 300, 60
INK, GRID = (40, 40, 40), (225, 225, 225)
# Okabe and Ito's colours: told apart with any colour vision
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167))
F1_NAMES = ("f1_labelled", "f1_all", "f1_positive", "f1_negative")


def plot_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write a PNG with two panels, the loss above and the F1 figures below."""
    picture = Image.new("RGB", (WIDTH_PX, 2 * PANEL_PX), "white")
    steps = [float(row["step"]) for row in history]
    losses = [float(row["loss"]) for row in history]
    _panel(picture, 0, steps, {"loss": losses}, top=max(losses) or 1.0)
    curves = {name: [row[name] or 0.0 for row in history] for name in F1_NAMES}
    _panel(picture, PANEL_PX, steps, curves, top=1.0)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _panel(
    picture: Image.Image,
    y0: int,
    steps: Sequence[float],
    curves: dict[str, list[float]],
    *,
    top: float,
) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    left, right = MARGIN_PX, WIDTH_PX - 20
    upper, lower = y0 + 25, y0 + PANEL_PX - 30
    for part in range(5):
        value = top * part / 4
        y = lower - (lower - upper) * part / 4
        draw.line([(left, y), (right, y)], fill=GRID)
        draw.text((5, y - 6), f"{value:.3g}", fill=INK, font=font)
    last = max(steps)
    draw.text((right - 60, lower + 8), f"step {last:g}", fill=INK, font=font)
    for number, (name, values) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [
            (left + (right - left) * step / last, lower - (lower - upper) * min(value / top, 1))
            for step, value in zip(steps, values, strict=True)
        ]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2)
        for x, y in places:
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
        draw.text((left + 150 * number, y0 + 6), f"{name} {values[-1]:.4g}", fill=colour, font=font)
