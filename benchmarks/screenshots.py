"""The documentation's pictures from a demo's output: report, overlay, heatmap, quality (a script).

``python -m benchmarks.screenshots demo docs/images --artefacts OUT``. What is missing is left out.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from benchmarks.browser import find_browser, open_browser
from pipeline.io.results import read_scores
from pipeline.report.html import write_report

MOST_BYTES = 300_000
SIDE_PX = 1360


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="of `ki67 demo --out`")
    parser.add_argument("images", type=Path, help="folder of the pictures")
    parser.add_argument("--artefacts", type=Path, help="output of a slide with artefacts")
    options = parser.parse_args()
    options.images.mkdir(parents=True, exist_ok=True)
    largest = largest_slide(options.out)
    keep_file(options.out / "slides" / largest / "overlay.jpg", options.images / "demo_overlay.jpg")
    damaged = options.artefacts and largest_slide(options.artefacts)
    if damaged:
        keep_file(options.artefacts / "slides" / damaged / "qc.jpg", options.images / "quality.jpg")
    browser = find_browser()
    if browser is None:
        print("no Chromium or Chrome is installed: no picture of the report")
        return
    page = write_report(options.out.resolve())
    for scheme, file in (("light", "report.jpg"), ("dark", "report_dark.jpg")):
        with open_browser(browser, width=SIDE_PX, height=1000, scheme=scheme) as watched:
            watched.page.goto(page.as_uri())
            shot(watched.page.screenshot(), options.images / file)
            card = watched.page.locator(f'[id="slide-{largest}"]')
            if scheme == "light":
                shot(card.screenshot(), options.images / "report_card.jpg")
                layers = card.locator(".stage").first
                if card.locator(".l-index").count():
                    shot(layers.screenshot(), options.images / "report_heatmap.jpg")
    if damaged:
        with open_browser(browser, width=SIDE_PX, height=1000, scheme="light") as watched:
            watched.page.goto(write_report(options.artefacts.resolve()).as_uri())
            card = watched.page.locator(f'[id="slide-{damaged}"]')
            shot(card.screenshot(), options.images / "report_quality.jpg")


def largest_slide(out: Path) -> str:
    """Name the slide of most cells."""
    return max(read_scores(out), key=lambda score: score.counts.total or 0).slide.id


def keep_file(source: Path, target: Path) -> None:
    """Keep a picture of an output, if there is one."""
    if source.exists():
        with Image.open(source) as picture:
            keep(picture.convert("RGB"), target)


def shot(png: bytes, path: Path) -> None:
    """Keep a picture of the screen."""
    with Image.open(io.BytesIO(png)) as picture:
        keep(picture.convert("RGB"), path)


def keep(picture: Image.Image, path: Path) -> None:
    """Write a JPEG below 300 kB, as fine as that allows."""
    picture.thumbnail((SIDE_PX, 4 * SIDE_PX), Image.Resampling.LANCZOS)
    for quality in (90, 80, 70, 60, 50, 40):
        picture.save(path, "JPEG", quality=quality, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            break
    print(f"{path} {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
