"""Peak memory of driver and workers on a small and a large slide: it must not grow with the slide.

Writes two synthetic slides (kept for the next time), runs each in a process of its own with one
worker, and samples the resident memory of every process of that run.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import psutil

SAMPLE_S = 0.1
LIMIT = 1.2
"""The larger slide may need this many times the smaller one's memory."""


def slide_of(folder: Path, side_px: int, coverage: float) -> Path:
    """Return a synthetic slide of that side, written once."""
    path = folder / f"side-{side_px}.tif"
    if not path.exists():
        size = ["--width", str(side_px), "--height", str(side_px), "--coverage", str(coverage)]
        subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, "-m", "pipeline", "synth", str(path), *size, "--workers", "2"],
            check=True,
        )
    return path


def peaks_mib(command: list[str]) -> tuple[float, float, float]:
    """Run a command: peak resident MiB of its first process and of its largest child, seconds."""
    started = time.monotonic()
    with subprocess.Popen(command) as process:  # noqa: S603 - our own command line
        root = psutil.Process(process.pid)
        driver = worker = 0.0
        while process.poll() is None:
            try:
                driver = max(driver, root.memory_info().rss)
                children = [child.memory_info().rss for child in root.children(recursive=True)]
                worker = max([worker, *children])
            except psutil.NoSuchProcess:
                pass  # it ended between two looks
            time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return driver / 2**20, worker / 2**20, time.monotonic() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/slide_memory"))
    parser.add_argument("--small", type=int, default=6_000)
    parser.add_argument("--large", type=int, default=30_000)
    parser.add_argument("--small-coverage", type=float, default=0.5)
    parser.add_argument("--large-coverage", type=float, default=0.06)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for side, coverage in (
        (asked.small, asked.small_coverage),
        (asked.large, asked.large_coverage),
    ):
        slide = slide_of(asked.folder, side, coverage)
        out = asked.folder / f"out-{side}-{time.time_ns()}"
        command = [sys.executable, "-m", "pipeline", "run", str(slide), "--out", str(out)]
        rows.append((side, *peaks_mib([*command, "--workers", "1"])))
    for side, driver, worker, seconds in rows:
        print(f"{side:6d} px: driver {driver:6.0f} MiB, worker {worker:6.0f} MiB, {seconds:.0f} s")
    small, large = rows
    for index, name in ((1, "driver"), (2, "worker")):
        ratio = float(large[index]) / float(small[index])
        verdict = "within" if ratio <= LIMIT else "OVER"
        print(f"{name}: {ratio:.2f} times, {verdict} the limit of {LIMIT}")


if __name__ == "__main__":
    main()
