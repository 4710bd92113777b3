"""How often a calibrated interval holds the true index, for simulated detectors; prints a table.

    python benchmarks/calibration_coverage.py

Each trial calibrates on slides of three fields with about 150 cells and corrects four new slides of
3,000 cells. A detector misses cells of the two classes with different recalls, takes some of either
class for the other, and the odds of its recalls differ from slide to slide (spread, logit).
"""

import argparse
import math

import numpy as np

from pipeline.core.calibration_fit import CountedField, fit_calibration, pool_groups
from pipeline.core.scoring import wilson95
from pipeline.errors import AnnotationError

DETECTORS = (  # recall of positive, of negative, confused share, spread between slides
    (0.90, 0.70, 0.00, 0.0),
    (0.90, 0.60, 0.00, 0.5),
    (0.85, 0.85, 0.05, 0.3),
    (0.70, 0.90, 0.08, 0.3),
    (0.90, 0.80, 0.01, 0.2),
    (0.90, 0.80, 0.03, 0.2),
)
SLIDES = (6, 15)
RANGES_PCT = ((1, 5), (5, 55))


def detect(
    random: np.random.Generator, detector: tuple[float, ...], positive: int, negative: int
) -> tuple[int, int]:
    """Count one slide's or field's cells as the detector does."""
    recall_positive, recall_negative, confused, _ = detector
    found = random.binomial([positive, negative], [recall_positive, recall_negative])
    away = random.binomial(found, confused)
    return int(found[0] - away[0] + away[1]), int(found[1] - away[1] + away[0])


def shifted(random: np.random.Generator, detector: tuple[float, ...]) -> tuple[float, ...]:
    """The detector as it is on one slide."""
    shift = random.normal(0, detector[3])
    recalls = [
        1 / (1 + math.exp(-math.log(recall / (1 - recall)) - sign * shift))
        for recall, sign in zip(detector[:2], (1, -1), strict=True)
    ]
    return (*recalls, *detector[2:])


def counted(
    random: np.random.Generator, detector: tuple[float, ...], slides: int
) -> list[CountedField]:
    """Fields of slides whose true index lies between 1 and 60 %, evenly on the logit scale."""
    fields = []
    for slide in range(slides):
        logit, here = random.uniform(-4.6, 0.4), shifted(random, detector)
        for place in range(3):
            total = int(random.poisson(150))
            positive = int(random.binomial(total, 1 / (1 + math.exp(-logit))))
            found = detect(random, here, positive, total - positive)
            name = f"{slide}-{place}"
            fields.append(CountedField(name, f"{slide}", positive, total - positive, *found))
    return fields


def trial(
    random: np.random.Generator,
    detector: tuple[float, ...],
    slides: int,
    range_pct: tuple[int, int],
) -> list[tuple[bool, float, float]]:
    """Covered, error before and error after, for four new slides; none where it is refused."""
    try:
        fit = fit_calibration(pool_groups(counted(random, detector, slides))[0])
    except AnnotationError:
        return []
    rows = []
    for _ in range(4):
        positive = int(3000 * random.uniform(*range_pct) / 100)
        found = detect(random, shifted(random, detector), positive, 3000 - positive)
        index, truth = 100 * found[0] / sum(found), 100 * positive / 3000
        own = wilson95(found[0], sum(found)) or (0.0, 100.0)
        corrected, (low, high) = fit.apply(index, own)
        rows.append((low <= truth <= high, abs(index - truth), abs(corrected - truth)))
    return rows


def main() -> None:
    """Print one line per detector, number of slides and range of true indices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    trials = parser.parse_args().trials
    heads = ("recall +, -, confused, spread", "slides", "true index", "refused", "covered")
    print("| " + " | ".join((*heads, "before", "after")) + " |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for detector in DETECTORS:
        for slides in SLIDES:
            for low, high in RANGES_PCT:
                random = np.random.default_rng(0)
                drawn = [trial(random, detector, slides, (low, high)) for _ in range(trials)]
                rows = np.array([row for part in drawn for row in part], np.float64)
                refused = sum(not part for part in drawn)
                covered, before, after = rows.mean(axis=0)
                print(
                    f"| {', '.join(f'{value:g}' for value in detector)} | {slides} | "
                    f"{low} to {high} % | {refused} | {100 * covered:.1f} % | "
                    f"{before:.2f} | {after:.2f} |"
                )


if __name__ == "__main__":
    main()
