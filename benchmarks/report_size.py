"""Size of the report and time to write and to open it, for made-up batches of slides (a script).

``python -m benchmarks.report_size 1 100 2000``; the browser is an installed Chromium.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.browser import find_browser, open_browser
from benchmarks.synthetic_batch import make_batch
from pipeline.report.html import write_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", type=int, nargs="*", default=[1, 100, 2000])
    counts: list[int] = parser.parse_args().slides
    print(
        "| slides | report.html, MB | report_data, MB | written, CPU s | again, CPU s | opened, s |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for slides in counts:
        with tempfile.TemporaryDirectory() as name:
            print(measured(Path(name), slides), flush=True)


def measured(out: Path, slides: int) -> str:
    make_batch(out, slides)
    first, again = seconds_to_write(out), seconds_to_write(out)
    page = (out / "report.html").stat().st_size
    twin = sum(path.stat().st_size for path in (out / "report_data").rglob("*") if path.is_file())
    return (
        f"| {slides:,} | {page / 1e6:.2f} | {twin / 1e6:.1f} | {first:.1f} | {again:.1f} "
        f"| {seconds_to_open(out / 'report.html')} |"
    )


def seconds_to_write(out: Path) -> float:
    began = time.process_time()
    write_report(out)
    return time.process_time() - began


def seconds_to_open(page: Path) -> str:
    """From the address to the table on the screen, after one page that warms the browser."""
    browser = find_browser()
    if browser is None:
        return "no Chromium"
    with open_browser(browser) as watched:
        watched.page.goto("about:blank")
        began = time.monotonic()
        watched.page.goto(page.as_uri(), timeout=300_000)
        watched.page.locator("#table tbody tr").first.wait_for()
        return f"{time.monotonic() - began:.2f}"


if __name__ == "__main__":
    main()
