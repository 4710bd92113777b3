"""What quality control finds of planted artefacts, and what it raises on clean fields.

Fields of one source are laid side by side until they make a sheet of whole bins; each artefact is
planted on it at its real size. `KI67_DATA` or an argument names the folder of real fields.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import QcSettings
from pipeline.core.frame import PlaneFrame
from pipeline.core.points import CellPoints
from pipeline.core.qc.bins import BinLayout
from pipeline.core.qc.judge import MeasuredSlide, Quality, judge
from pipeline.core.qc.look import Glass, OverviewQuality
from pipeline.core.qc.measures import measure_tile
from pipeline.core.qc.rules import LEAST_TISSUE, REASONS, BinValues, excluded_bins
from pipeline.core.resampling import axis_taps, resample
from pipeline.io.synthetic import DEMO_RANGES, FIRST_UNSEEN_SEED, TRAINING_RANGES, render_field
from pipeline.io.synthetic.artefacts import (
    LOCAL_KINDS,
    STAIN_KINDS,
    field_artefact,
    plant,
    planted_mask,
)

MPP_UM, BIN_PX = 0.5, 128
KI67 = {"bcdata": ("bcdata_sample", 0.25), "shidc": ("shidc_sample", 0.161)}
KI67 |= {"pilot": ("ki67_pilot_masks", 0.5)}
HE = {"crchistophenotypes (H&E)": ("uw_crchistophenotypes", 0.55)}
HE |= {"brca_m2c (H&E)": ("brca_m2c", 0.5)}
REASON = {
    "blur": ("out_of_focus",),
    "pen_blue": ("pen",),
    "pen_green": ("pen",),
    "pen_black": ("debris",),
    "fold": ("fold",),
    "bubble": ("debris", "out_of_focus"),
    "debris": ("debris",),
    "pigment": ("pigment",),
}
FLAG = {"pale": {"understained", "no_haematoxylin"}, "overstained": {"overstained"}}
FLAG |= {"no_haematoxylin": {"no_haematoxylin"}, "h_and_e": {"not_ki67_like"}}

Rgb = NDArray[np.uint8]


def read_fields(folder: Path, mpp_um: float) -> list[Rgb]:
    """All images of a folder at the bins' resolution."""
    names = sorted(path for path in (folder / "images").iterdir() if path.suffix != ".txt")
    return [_resampled(np.asarray(Image.open(path).convert("RGB")), mpp_um) for path in names]


def synthetic_fields(seeds: range, *, training: bool) -> list[Rgb]:
    """Dense fields of known cells."""
    ranges, first = (TRAINING_RANGES, 0) if training else (DEMO_RANGES, FIRST_UNSEEN_SEED)
    images = [render_field(first + seed, 768, 0.25, ranges).image for seed in seeds]
    return [_resampled(image, 0.25) for image in images]


def sheets(fields: list[Rgb], *, across: int) -> Iterator[Rgb]:
    """Sheets of ``across`` x ``across`` fields, cropped to whole bins; fields are used again."""
    side = min(min(image.shape[:2]) for image in fields)
    for first in range(0, len(fields), across * across):
        some = [fields[(first + k) % len(fields)][:side, :side] for k in range(across * across)]
        rows = [np.hstack(some[row * across : (row + 1) * across]) for row in range(across)]
        whole = across * side // BIN_PX * BIN_PX
        yield np.vstack(rows)[:whole, :whole]


def measured(image: Rgb, glass: Glass = (255.0, 255.0, 255.0)) -> MeasuredSlide:
    """Measure a sheet as if it were a slide that is tissue everywhere."""
    side = len(image)
    frame = PlaneFrame(0, 0, 1.0, 1.0, side, side)
    over = PlaneFrame(0, 0, 16.0, 16.0, side // 16, side // 16)
    none = np.zeros((over.height, over.width), bool)
    return MeasuredSlide(
        values=measure_tile(image, bin_px=BIN_PX, mpp_um=MPP_UM, glass=glass),
        layout=BinLayout(frame, BIN_PX),
        overview=OverviewQuality(glass, none, 0.0, 1.0),
        tissue=~none,
        over=over,
        um_per_px=8.0,
    )


def judged(image: Rgb, rules: QcSettings) -> tuple[Quality, dict[str, NDArray[np.bool_]], int]:
    """Judge a sheet; also the bins left out by reason, and the number of bins with tissue."""
    slide = measured(image)
    bins = BinValues(slide.values)
    left_out = excluded_bins(bins, np.ones_like(bins["tissue"]), rules)
    tissue = int((bins["tissue"] > LEAST_TISSUE).sum())
    return judge(slide, CellPoints.empty(), rules), dict(left_out), tissue


def clean(name: str, pages: list[Rgb], rules: QcSettings) -> None:
    """Print what is raised where nothing is wrong."""
    total, flags = 0, []
    wrong: dict[str, int] = {}
    for page in pages:
        quality, left_out, tissue = judged(page, rules)
        total += tissue
        flags += list(quality.flags)
        for reason, mask in left_out.items():
            wrong[reason] = wrong.get(reason, 0) + int(mask.sum())
    shares = ", ".join(f"{reason} {count}" for reason, count in wrong.items() if count)
    print(
        f"{name:26s} {len(pages):3d} sheets {total:5d} bins; left out: {shares or 'none'}; ", end=""
    )
    print(f"flags: {', '.join(sorted(set(flags))) or 'none'}")


def found(kind: str, pages: list[Rgb], rules: QcSettings, seeds: range) -> list[int]:
    """Bins covered wholly: found, all; by half or more: found, all; not at all: left out, all."""
    counts = np.zeros(6, int)
    for page in pages:
        _, before, _ = judged(page, rules)
        wrong_before = np.any(list(before.values()), axis=0)
        for seed in seeds:
            artefact = field_artefact(kind, len(page) * MPP_UM, seed)
            image = plant(page, [artefact], mpp_um=MPP_UM, glass=bright(page))
            _, after, _ = judged(image, rules)
            share = _share(planted_mask(artefact, len(page), len(page), mpp_um=MPP_UM))
            hit = np.any([after[reason] for reason in REASON[kind]], axis=0)
            wrong = np.any(list(after.values()), axis=0) & ~wrong_before
            for place, (of, where) in enumerate(
                ((hit, share >= 0.99), (hit, share >= 0.5), (wrong, share == 0))
            ):
                counts[2 * place] += int((of & where).sum())
                counts[2 * place + 1] += int(where.sum())
    return [int(count) for count in counts]


def bright(image: Rgb) -> Glass:
    """Light through the clearest part of a field."""
    red, green, blue = (float(value) for value in np.percentile(image, 99, axis=(0, 1)))
    return red, green, blue


def fields_flagged(name: str, fields: list[Rgb], rules: QcSettings, flag: str) -> None:
    """Print on how many single fields a flag is raised."""
    side = min(min(image.shape[:2]) for image in fields) // BIN_PX * BIN_PX
    some = [image[:side, :side] for image in fields]
    raised = sum(flag in judged(image, rules)[0].flags for image in some)
    print(f"{name:26s} {flag} on {raised} of {len(fields)} fields")


def _share(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    number = len(mask) // BIN_PX
    return np.asarray(mask.reshape(number, BIN_PX, number, BIN_PX).mean(axis=(1, 3)), np.float64)


def _resampled(image: Rgb, mpp_um: float) -> Rgb:
    scale = MPP_UM / mpp_um
    height, width = (int(side / scale) for side in image.shape[:2])
    taps_y, taps_x = (axis_taps(0, side, origin=0.0, scale=scale) for side in (height, width))
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="edge")
    rows = slice(8 + taps_y.first, 8 + taps_y.first + taps_y.count)
    cols = slice(8 + taps_x.first, 8 + taps_x.first + taps_x.count)
    return resample(padded[rows, cols], taps_y, taps_x)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("KI67_DATA"))
    parser.add_argument("--seeds", type=int, default=2, help="artefacts of each kind on a sheet")
    parser.add_argument("--kinds", default=",".join(LOCAL_KINDS), help="planted, by commas")
    asked = parser.parse_args()
    rules = QcSettings(exclude=REASONS)
    pages = {
        "synthetic, demonstration": list(
            sheets(synthetic_fields(range(27), training=False), across=3)
        ),
        "synthetic, training": list(sheets(synthetic_fields(range(27), training=True), across=3)),
    }
    fields: dict[str, list[Rgb]] = {}
    if asked.data:
        for name, (folder, mpp) in {**KI67, **HE}.items():
            fields[name] = read_fields(asked.data / folder, mpp)
        pages |= {name: list(sheets(fields[name], across=3)) for name in KI67}
    print("Clean sheets")
    for name, some in pages.items():
        clean(name, some, rules)
    for name in KI67:
        if name in fields:
            fields_flagged(name, fields[name], rules, "not_ki67_like")
    for name in HE:
        if name in fields:
            fields_flagged(name, fields[name], rules, "not_ki67_like")
    print("\nPlanted artefacts: bins found that lie wholly in it; half or more; left out beside it")
    for kind in asked.kinds.split(","):
        for name, some in pages.items():
            number = found(kind, some[:1], rules, range(asked.seeds))
            print(
                f"{kind:10s} {name:25s} {number[0]:3d} of {number[1]:3d}; "
                f"{number[2]:3d} of {number[3]:3d}; {number[4]:3d} of {number[5]:3d}"
            )
    print("\nPlanted stains: sheets with the flag")
    for kind in STAIN_KINDS:
        for name, some in pages.items():
            flagged = 0
            for page in some[:1]:
                image = plant(
                    page, [field_artefact(kind, 1.0, 0)], mpp_um=MPP_UM, glass=bright(page)
                )
                flagged += bool(FLAG[kind] & set(judged(image, rules)[0].flags))
            print(f"{kind:16s} {name:26s} {flagged} of 1")


if __name__ == "__main__":
    main()
