"""What a slide behind a URL costs: bytes and requests of range reads against a staged copy.

    python -m benchmarks.remote_reading FOLDER [--slide SLIDE]

One slide is run as the tasks of a run would, in this process, from a web server on loopback that
counts: its plan, some of its regions, then the rest and the results. ``tiffslide`` reads ranges,
``openslide`` stages a copy. Without ``--slide`` a slide of drawn tissue is made.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.one_job import job_of
from pipeline.config import load_config
from pipeline.io.open_slides import close_idle
from pipeline.run.finalise import finalise_slide
from pipeline.run.plan import read_plan, work_folder
from pipeline.run.prepare import prepare_slide
from pipeline.run.region import process_region
from tests.io.remote_servers import WebServer, web_server
from tests.run.small_slides import stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network

FEW_REGIONS = 2


class Count:
    """Prints what was transferred since the last row."""

    def __init__(self, web: WebServer, reader: str) -> None:
        self._web, self._reader = web, reader
        self._bytes, self._requests = web.sent_bytes, web.requests

    def row(self, step: str) -> None:
        """Print one row."""
        sent, asked = self._web.sent_bytes, self._web.requests
        mb = (sent - self._bytes) / 1e6
        print(f"{self._reader:10} {step:34} {mb:8.2f} MB {asked - self._requests:6} requests")
        self._bytes, self._requests = sent, asked


def run_slide(web: WebServer, reader: str, home: Path, model: Path) -> None:
    """Run one slide by its URL with one reader, and print a row a step."""
    out = home / reader
    shutil.rmtree(out, ignore_errors=True)
    config = load_config(
        None,
        [
            f'prediction.model="{model}"',
            "prediction.tile_core_px=512",
            f'slides.reader="{reader}"',
            f'inputs.scratch="{home / "scratch"}"',
        ],
    )
    job = job_of(web.url("in/"), config, out)
    count = Count(web, reader)
    prepare_slide(job)
    count.row("plan (and all of a staged copy)")
    regions = read_plan(work_folder(job.folder)).regions
    for index in regions[:FEW_REGIONS]:
        process_region(job, index)
    count.row(f"{min(FEW_REGIONS, len(regions))} of {len(regions)} regions")
    for index in regions[FEW_REGIONS:]:
        process_region(job, index)
    count.row("all other regions")
    finalise_slide(job)
    count.row("results, second look at the content")
    close_idle()


def drawn() -> NDArray[np.uint8]:
    """Draw 12288 x 9216 pixels, 41 % of them tissue, whose noise compresses as a scan's does."""
    pixels = stained_tissue(1, width=6144, height=4608).repeat(2, axis=0).repeat(2, axis=1)
    rng = np.random.default_rng(1)
    for top in range(0, len(pixels), 512):
        rows = pixels[top : top + 512]
        noise = rng.integers(-9, 10, rows.shape, np.int16)
        rows[...] = np.where(rows < 240, np.clip(rows + noise, 0, 255), rows).astype(np.uint8)
    return pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slide", type=Path)
    args = parser.parse_args()
    home = args.folder.resolve()
    home.mkdir(parents=True, exist_ok=True)
    slide = args.slide or home / "drawn.tif"
    if not slide.exists():
        write_slide(slide, drawn())
    model = save_tiny_network(home / "model")
    with web_server() as web:
        web.objects[f"in/{slide.name}"] = slide.read_bytes()
        print(f"{slide.name}: {slide.stat().st_size / 1e6:.2f} MB")
        for reader in ("tiffslide", "openslide"):
            run_slide(web, reader, home, model)


if __name__ == "__main__":
    main()
