"""What a hotspot search finds where there is none, and whether it finds a planted one."""

import argparse
import math

import numpy as np
from point_patterns import planted_pattern, uniform_pattern

from pipeline.core.hotspots import find_hotspots

SPOT_INDEX, SPOT_UM, NEAR_UM = 0.4, 250.0, 100.0
"""Positivity and radius of the planted disc, and how near its centre counts as found."""


def chance(cells: int, patterns: int) -> None:
    """Print index against found maximum by cells per hotspot, labels uniform."""
    print(f"highest index found, true index uniform, {cells:,} cells, mean of {patterns}")
    sizes = (100, 200, 500, 1000, 2000)
    print("| true index | " + " | ".join(f"{size} cells" for size in sizes) + " |")
    for index in (0.02, 0.05, 0.10, 0.20, 0.30):
        highest = np.zeros((patterns, len(sizes)))
        for number in range(patterns):
            cell = uniform_pattern(np.random.default_rng(number), cells=cells, index=index)
            for place, size in enumerate(sizes):
                (spot,) = find_hotspots(
                    cell.x_um, cell.y_um, cell.positive, count=1, min_cells=size, permutations=1
                )
                highest[number, place] = spot.index_pct
        means = " | ".join(f"{value:.1f} %" for value in highest.mean(axis=0))
        print(f"| {index:.0%} | {means} |", flush=True)


def false_calls(cells: int, patterns: int, permutations: int) -> None:
    """Print how many of the uniform patterns get p < 0.05, by rank."""
    print(f"uniform patterns of {cells:,} cells with p < 0.05, of {patterns}, by rank")
    for index in (0.02, 0.2):
        called = np.zeros(3, int)
        for number in range(patterns):
            cell = uniform_pattern(np.random.default_rng(number), cells=cells, index=index)
            for spot in find_hotspots(
                cell.x_um, cell.y_um, cell.positive, permutations=permutations, seed=number
            ):
                called[spot.rank - 1] += spot.p_value < 0.05
        print(f"| {index:.0%} | {' | '.join(map(str, called))} |", flush=True)


def detections(cells: int, patterns: int, permutations: int) -> None:
    """Print how many planted hotspots come first, with p < 0.05, near their place."""
    found, distances = 0, []
    for number in range(patterns):
        cell, x_um, y_um = planted_pattern(
            np.random.default_rng(number),
            cells=cells,
            index=0.1,
            spot_index=SPOT_INDEX,
            spot_um=SPOT_UM,
        )
        first = find_hotspots(
            cell.x_um, cell.y_um, cell.positive, count=1, permutations=permutations, seed=number
        )[0]
        distances.append(math.hypot(first.x_um - x_um, first.y_um - y_um))
        found += first.p_value < 0.05 and distances[-1] < NEAR_UM
    print(
        f"planted ({SPOT_INDEX:.0%} in a disc of {SPOT_UM:g} um, 10 % around): "
        f"{found} of {patterns} first, p < 0.05, within {NEAR_UM:g} um; "
        f"median distance {np.median(distances):.0f} um"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", type=int, default=100)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--permutations", type=int, default=39)
    parser.add_argument("--chance-cells", type=int, default=100_000)
    given = parser.parse_args()
    detections(given.cells, given.patterns, given.permutations)
    false_calls(given.cells, given.patterns, given.permutations)
    chance(given.chance_cells, 3)


if __name__ == "__main__":
    main()
