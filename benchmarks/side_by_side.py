"""Ours and every rival that is installed, in turn, on one slide with one network; ratios in one go.

    python -m benchmarks.side_by_side FOLDER --side 6000 --net toy --repeat 3
        --rival tiatoolbox=VENV --rival lazyslide=VENV

``naive`` runs in this environment. Wall is that of the whole command, imports and start included;
CPU is that of the command and all its children. Memory is the highest proportional set size of the
process tree in one further run of each: to look at it takes a tenth of a core, which a command
that uses all cores lacks and another one does not. Points are compared with untiled inference
where the slide is small enough for it.
"""

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from scipy.spatial import cKDTree

from benchmarks.nets import NAMES, save_model
from benchmarks.repeated_slide import write_repeated_slide

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 0.2
SET_CHILD_SUBREAPER = 36
"""Linux: processes whose parent has ended become ours, and so do their CPU seconds."""
WHOLE_SIDE_PX = 8000
"""Slides up to here fit into memory as one image with the maps of the toy network."""
NEAR_PX = 2.0
SCRIPTS = {"naive": "naive", "tiatoolbox": "tiatoolbox_detect", "lazyslide": "lazyslide_detect"}

Points = np.ndarray[Any, Any]


@dataclass
class Runs:
    """What the runs of one pipeline took."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    memory_mib: float = 0.0
    inner_s: list[float] = field(default_factory=list)
    """Of a rival: without its imports."""
    forward_s: list[float] = field(default_factory=list)
    points: Points = field(default_factory=lambda: np.empty((0, 3)))


def run(runs: Runs, command: list[str], log: Path, *, watched: bool) -> None:
    """Run a command; keep its wall and CPU seconds or, watched, the peak memory of its tree."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own command lines
            command, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    peak = [0.0]
    watch = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    if watched:
        watch.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    cpu_s = usage.ru_utime + usage.ru_stime + _left_behind()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command)}: exit {process.returncode}\n{log.read_text()[-2000:]}"
        )
    if watched:
        watch.join()
        runs.memory_mib = peak[0]
    else:
        runs.wall_s.append(wall_s)
        runs.cpu_s.append(cpu_s)


def _left_behind() -> float:
    """Wait for processes that a command left to us as it ended: their CPU seconds."""
    seconds = 0.0
    with suppress(ChildProcessError):
        while True:
            _, _, usage = os.wait4(-1, 0)
            seconds += usage.ru_utime + usage.ru_stime
    return seconds


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    try:
        root = psutil.Process(process.pid)
    except psutil.NoSuchProcess:
        return
    while process.returncode is None:
        total = 0
        try:
            for one in (root, *root.children(recursive=True)):
                total += _proportional(one.pid)
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total / 1024)
        time.sleep(SAMPLE_S)


def _proportional(pid: int) -> int:
    """KiB of a process, pages it shares counted in parts; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:"), 0)


def run_ours(
    runs: Runs, slide: Path, out: Path, model: Path, extra: list[str], *, watched: bool
) -> None:
    """``ki67 run`` as a user calls it: heatmap, GeoJSON, pictures, report and all."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "run", str(slide), "--out", str(out)]
    command += ["--model", str(model), *extra]
    run(runs, command, out.with_suffix(".log"), watched=watched)
    (folder,) = (out / "slides").iterdir()
    table = pq.read_table(folder / "cells.parquet").to_pydict()
    channel = [0 if label == "positive" else 1 for label in table["label"]]
    runs.points = np.column_stack([table["x_l0"], table["y_l0"], channel])


def run_rival(
    runs: Runs, python: str, slide: Path, out: Path, name: str, net: str, *, watched: bool
) -> None:
    """One rival's script."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    script = f"benchmarks.rivals.{SCRIPTS[name]}"
    command = [python, "-m", script, str(slide), str(out), "--net", net]
    run(runs, command, out.with_suffix(".log"), watched=watched)
    figures = json.loads((out / "figures.json").read_text())
    runs.inner_s.append(figures["run_s"])
    runs.forward_s.append(figures["forward_s"])
    runs.points = np.load(out / "points.npy")[:, :3] + np.array([0.5, 0.5, 0])


def untiled(slide: Path) -> Points:
    """Cells of the toy network on the whole slide in one piece: ``(x, y, channel)``.

    White surrounds it, as every reader shows it beyond a slide: else the network's own padding
    decides about the last pixels.
    """
    import openslide
    import torch

    from benchmarks.nets import MARGIN_PX, MPP_UM, RADIUS_UM, THRESHOLD, make_net
    from pipeline.core.ccls import localize
    from pipeline.core.localizing import window_side

    image = openslide.OpenSlide(slide)
    whole = np.asarray(image.read_region((0, 0), 0, image.dimensions).convert("RGB"))
    margin = MARGIN_PX
    whole = np.pad(whole, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
    pixels = torch.from_numpy(whole).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        heatmap = make_net("toy")(pixels)[0, :, margin:-margin, margin:-margin].numpy()
    peaks = localize(heatmap, window=window_side(RADIUS_UM, MPP_UM), threshold=THRESHOLD)
    return np.column_stack([peaks.x_px, peaks.y_px, 1 - peaks.label])


def wrong_and_missed(found: Points, true: Points) -> tuple[int, int]:
    """Points with none of theirs near, both ways, channel by channel."""
    wrong = missed = 0
    for channel in (0, 1):
        mine, theirs = (points[points[:, 2] == channel, :2] for points in (found, true))
        wrong += int((cKDTree(theirs).query(mine)[0] > NEAR_PX).sum()) if len(mine) else 0
        missed += int((cKDTree(mine).query(theirs)[0] > NEAR_PX).sum()) if len(theirs) else 0
    return wrong, missed


def show(runs: dict[str, Runs], true: Points | None) -> None:
    """Print a table; ratios are to ours."""
    ours = runs["ki67"]
    print(
        "| | wall s | CPU s | memory MiB | forward s | wall x | CPU x | points | wrong | missed |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, one in runs.items():
        middle = statistics.median
        forward = f"{middle(one.forward_s):.1f}" if one.forward_s else ""
        against = ("", "") if true is None else wrong_and_missed(one.points, true)
        print(
            f"| {name} | {middle(one.wall_s):.1f} | {middle(one.cpu_s):.1f} "
            f"| {one.memory_mib:.0f} | {forward} "
            f"| {middle(one.wall_s) / middle(ours.wall_s):.2f} "
            f"| {middle(one.cpu_s) / middle(ours.cpu_s):.2f} "
            f"| {len(one.points)} | {against[0]} | {against[1]} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--net", default="toy", choices=NAMES)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=VENV")
    parser.add_argument("--without", action="append", default=[], metavar="NAME")
    parser.add_argument("--set", dest="pairs", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked.folder.mkdir(parents=True, exist_ok=True)
    slide, model = asked.folder / f"side-{asked.side}.svs", asked.folder / asked.net
    if not slide.exists():
        write_repeated_slide(slide, asked.side)
    if not model.exists():
        save_model(model, asked.net)
    pythons = {"naive": sys.executable}
    for rival in asked.rival:
        name, _, environment = rival.partition("=")
        pythons[name] = str(Path(environment) / "bin" / "python")
    pythons = {name: python for name, python in pythons.items() if name not in asked.without}
    extra = [part for pair in asked.pairs for part in ("--set", pair)]
    runs = {name: Runs() for name in ("ki67", *pythons)}
    for watched in (*[False] * asked.repeat, True):
        out = {name: asked.folder / f"{name}-out" for name in runs}
        run_ours(runs["ki67"], slide, out["ki67"], model, extra, watched=watched)
        for name, python in pythons.items():
            run_rival(runs[name], python, slide, out[name], name, asked.net, watched=watched)
    comparable = asked.side <= WHOLE_SIDE_PX and asked.net != "w18"
    show(runs, untiled(slide) if comparable else None)


if __name__ == "__main__":
    main()
