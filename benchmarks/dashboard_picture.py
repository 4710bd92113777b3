"""The documentation's picture of a run's page, taken while slides are scored (a script).

``python -m benchmarks.dashboard_picture SLIDES OUT docs/images/dashboard.png --after 40``
"""

import argparse
import io
import threading
import time
from pathlib import Path

from PIL import Image

from benchmarks.browser import find_browser, open_browser
from pipeline.config import load_config
from pipeline.run.archive import run_archive
from pipeline.run.events import Event


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", type=Path)
    parser.add_argument("out", type=Path, help="output folder of the run")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--after", type=int, default=40, help="regions done before the picture")
    parser.add_argument("--set", dest="pairs", action="append", default=[], help="settings")
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        print("no Chromium or Chrome is installed")
        return
    link, reached, taken = [""], threading.Event(), threading.Event()
    count = [0]

    def follow(event: Event) -> None:
        if event.kind == "run_started":
            link[0] = event.message
        count[0] += event.kind == "region_done"
        if count[0] >= options.after and not reached.is_set():
            reached.set()
            taken.wait(120)  # the run stands still in the picture

    run = threading.Thread(
        target=run_archive,
        args=([options.slides], options.out, load_config(None, options.pairs)),
        kwargs={"on_event": follow},
    )
    run.start()
    while run.is_alive() and not reached.wait(1):
        pass
    try:
        if reached.is_set():
            keep(photographed(browser, link[0]), options.picture)
    finally:
        taken.set()
    run.join()


def photographed(browser: str, address: str) -> bytes:
    """Take the page as it is after its first look at the board."""
    with open_browser(browser, width=1300, height=860) as watched:
        watched.page.context.set_offline(False)  # the page is on this machine
        watched.page.goto(address)
        watched.page.wait_for_selector("table")
        time.sleep(2)
        return watched.page.screenshot(full_page=True)


def keep(png: bytes, path: Path) -> None:
    """Write a small PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)
    print(f"{path} {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
