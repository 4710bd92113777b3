"""How often the intervals of an index contain the positivity the cells were drawn with."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from point_patterns import field_pattern, thomas_pattern

from pipeline.core.bootstrap import block_bootstrap95
from pipeline.core.scoring import wilson95

LENGTHS_UM = (50, 150, 400)
KINDS = {"smooth field": field_pattern, "Thomas clusters": thomas_pattern}
LABELS = ("Wilson", "block bootstrap")
# Okabe and Ito's colours: told apart with any colour vision
COLOURS = ((213, 94, 0), (0, 114, 178))
INK, GRID, BAND = (40, 40, 40), (225, 225, 225), (235, 242, 235)
WIDTH_PX, HEIGHT_PX, LEFT_PX, TOP_PX, BOTTOM_PX = 900, 420, 70, 50, 340


def coverage(kind: str, length_um: int, patterns: int, index: float) -> tuple[list[float], ...]:
    """Percent of patterns covered, and mean widths in points, by Wilson and by the bootstrap."""
    rng = np.random.default_rng(length_um)
    covered, widths = np.zeros((patterns, 2)), np.zeros((patterns, 2))
    for number, mm2 in enumerate(np.geomspace(5, 20, patterns)):
        cells = KINDS[kind](rng, length_um=length_um, mm2=mm2, index=index)
        intervals = (
            wilson95(int(cells.positive.sum()), len(cells.positive)),
            block_bootstrap95(cells.x_um, cells.y_um, cells.positive),
        )
        for place, interval in enumerate(intervals):
            low, high = interval or (0.0, 0.0)
            covered[number, place] = low <= cells.true_pct <= high
            widths[number, place] = high - low
    return (100 * covered.mean(axis=0)).tolist(), widths.mean(axis=0).tolist()


def plot(path: Path, rows: list[tuple[str, list[float]]]) -> None:
    """Draw bars of coverage with the range from 90 to 98 % behind them."""
    picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)

    def y_of(percent: float) -> float:
        return BOTTOM_PX - (BOTTOM_PX - TOP_PX) * percent / 100

    draw.rectangle([LEFT_PX, y_of(98), WIDTH_PX - 20, y_of(90)], fill=BAND)
    for percent in (0, 25, 50, 75, 95):
        draw.line([(LEFT_PX, y_of(percent)), (WIDTH_PX - 20, y_of(percent))], fill=GRID)
        draw.text((20, y_of(percent) - 8), f"{percent} %", fill=INK, font=font)
    step = (WIDTH_PX - 20 - LEFT_PX) / len(rows)
    for number, (name, values) in enumerate(rows):
        x = LEFT_PX + step * number + step / 2 - 45
        for place, value in enumerate(values):
            left = x + 48 * place
            draw.rectangle([left, y_of(value), left + 40, BOTTOM_PX], fill=COLOURS[place])
            draw.text((left, y_of(value) - 18), f"{value:.1f}", fill=INK, font=font)
        draw.multiline_text((x - 8, BOTTOM_PX + 8), name, fill=INK, font=font)
    for place, name in enumerate(LABELS):
        draw.rectangle(
            [LEFT_PX + 220 * place, 14, LEFT_PX + 220 * place + 14, 28], fill=COLOURS[place]
        )
        draw.text((LEFT_PX + 22 + 220 * place, 12), name, fill=INK, font=font)
    draw.text((LEFT_PX + 440, 12), "shaded: 90 to 98 %", fill=INK, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", type=int, default=200)
    parser.add_argument("--index", type=float, default=0.2)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    print(f"true index {given.index:.0%}, {given.patterns} patterns a row, tissue of 5 to 20 mm2")
    print("| pattern | cluster length | Wilson | its width | block bootstrap | its width |")
    rows = []
    for kind in KINDS:
        for length_um in LENGTHS_UM:
            shares, widths = coverage(kind, length_um, given.patterns, given.index)
            cells = [f"{a:.1f} % | {b:.1f}" for a, b in zip(shares, widths, strict=True)]
            print(f"| {kind} | {length_um} um | {' | '.join(cells)} |", flush=True)
            rows.append((f"{kind}\n{length_um} um", shares))
    if given.plot:
        plot(given.plot, rows)


if __name__ == "__main__":
    main()
